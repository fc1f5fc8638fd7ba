// Paper is white, and folds do not open on it. What is changed for printing is put back afterwards.
(() => {
  const page = document.documentElement;
  let before = null;
  addEventListener("beforeprint", () => {
    if (before) return;
    before = { theme: page.dataset.theme, folded: [...document.querySelectorAll("details:not([open])")] };
    page.dataset.theme = "light";
    for (const fold of before.folded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    if (!before) return;
    page.dataset.theme = before.theme;
    for (const fold of before.folded) fold.open = false;
    before = null;
  });
})();
