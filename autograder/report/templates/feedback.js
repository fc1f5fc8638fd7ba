// The page reads without this script: it adds a switch between day and night.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const night = document.getElementById("night");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const say = () => { night.textContent = isDark() ? "Light" : "Dark"; };
  night.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
  system.addEventListener("change", say);
  say();
})();
