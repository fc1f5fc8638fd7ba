// The report reads without this script: it adds sorting, a filter, day and night, and names that can be hidden.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a page from a file may not */ } };
  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

  const night = document.getElementById("night");
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const say = () => { night.textContent = isDark() ? "Light" : "Dark"; };
  if (recall("attnlab-theme")) root.dataset.theme = recall("attnlab-theme");
  night.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("attnlab-theme", root.dataset.theme);
    say();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();

  const names = document.getElementById("names");
  names.addEventListener("click", () => {
    const hide = root.dataset.names !== "hidden";
    root.dataset.names = hide ? "hidden" : "shown";
    names.setAttribute("aria-pressed", String(hide));
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => (up ? compare(a, b) : compare(b, a)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  const filter = document.getElementById("filter");
  if (filter) {
    const listed = [...document.querySelectorAll("#class tbody tr, .student")].map((one) => [one.dataset.search, one]);
    const rows = document.querySelectorAll("#class tbody tr").length;
    const count = document.getElementById("filter-count");
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      let shown = 0;
      for (const [words, one] of listed) {
        one.hidden = !words.includes(wanted);
        if (!one.hidden && one.tagName === "TR") shown += 1;
      }
      count.textContent = wanted ? `${shown} of ${rows}` : "";
    });
  }

  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold) { fold.open = true; fold.scrollIntoView(); fold.querySelector("summary").focus(); }
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
