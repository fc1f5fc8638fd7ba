// A page of the book, made fit for paper: its article as HTML. `names` are the pages that are printed, `site` is where they lie.
([text, name, names, site]) => {
  const page = new DOMParser().parseFromString(text, "text/html");
  const article = page.querySelector("article.bd-article");
  const anchor = other => other.replaceAll("/", "-");
  const here = anchor(name);
  const all = selector => [...article.querySelectorAll(selector)];
  const make = (tag, words = "", kind = "") => {
    const made = page.createElement(tag);
    made.textContent = words;
    if (kind) made.className = kind;
    return made;
  };

  // What only a screen can do, and the code that draws the pictures: many pages that nobody would type.
  all("script, style.live, input, button, .headerlink, .take, .only-dark").forEach(one => one.remove());
  all(".cell.tag_hide-input:not(.tag_solution) > details").forEach(fold => fold.remove());

  // Pictures lie in the site; links lead to what is printed, and are mere words where it is not.
  const absolute = address => new URL(address, `file:///site/${name}.html`);
  const local = address => decodeURI(absolute(address).pathname).replace("/site/", "");
  all("[src]").forEach(one => {
    if (!/^[a-z]+:/.test(one.getAttribute("src"))) one.setAttribute("src", site + local(one.getAttribute("src")));
  });
  all("[id]").forEach(one => { one.id = `${here}--${one.id}`; });
  all("[aria-labelledby], [aria-describedby], [for]").forEach(one => {
    for (const key of ["aria-labelledby", "aria-describedby", "for"]) {
      if (one.hasAttribute(key)) one.setAttribute(key, `${here}--${one.getAttribute(key)}`);
    }
  });
  all("a[href]").forEach(link => {
    const address = link.getAttribute("href");
    if (/^[a-z]+:/.test(address)) return;
    const there = local(address).replace(/\.html$/, ""), id = absolute(address).hash.slice(1);
    if (names.includes(there)) link.setAttribute("href", `#${anchor(there)}` + (id ? `--${id}` : ""));
    else link.replaceWith(...link.childNodes);
  });

  // Hints, answers and solutions go to the end, in order, each under the heading that it stood under.
  const folds = all("details").filter(fold => !fold.parentElement.closest("details"));
  const end = make("section", "", "answers");
  let under = "", line = null, number = 0;
  for (const fold of folds) {
    const solution = fold.closest(".cell.tag_solution");
    const outer = solution ?? fold;
    const headings = all("h1, h2, h3").filter(one => one.compareDocumentPosition(outer) & Node.DOCUMENT_POSITION_FOLLOWING);
    const heading = headings.at(-1)?.textContent.trim() ?? "";
    let words = solution ? "A solution" : fold.querySelector("summary").textContent.trim();
    for (let one = outer.previousElementSibling; one && /^(A model a|A)nswer$/.test(words); one = one.previousElementSibling) {
      const asked = /^\d+\./.exec(one.querySelector("strong:first-child")?.textContent ?? "");
      if (asked) words = `${asked[0]} ${words}`;
    }
    if (heading != under) end.append(make("p", heading, "under"));
    under = heading;
    number += 1;
    const label = make("p", "", "label"), back = make("a", words);
    label.id = `${here}--answer-${number}`;
    back.href = `#${here}--asked-${number}`;
    label.append(back);

    const mark = make("a", words);
    mark.id = `${here}--asked-${number}`;
    mark.href = `#${label.id}`;
    if (line && line.nextElementSibling == outer) line.append(" · ");
    else outer.before(line = make("p", "→ ", "elsewhere"));
    line.append(mark);

    end.append(label);
    if (solution) {
      const code = make("div", "", "cell");
      code.append(...solution.querySelectorAll(".cell_input .highlight"));
      end.append(code);
    } else {
      fold.querySelector("summary").remove();
      end.append(...fold.childNodes);
    }
    outer.remove();
  }
  if (folds.length) {
    end.prepend(make("h2", "Hints, solutions and answers"));
    article.append(end);
  }
  article.id = here;
  return article.outerHTML;
}
