// A root sign comes in several sizes. Chromium keeps room for the widest of the font beside every root, as empty space
// behind it: taken back here, where there is some. Other browsers leave none.
{
  const AIR = 0.06; // em, between a root and what follows
  const tighten = () => {
    for (const root of document.querySelectorAll("msqrt:not([style])")) {
      const em = parseFloat(getComputedStyle(root).fontSize);
      const { right } = root.getBoundingClientRect(); // 0 in a closed fold: its turn comes when it opens
      const gap = (right - root.lastElementChild.getBoundingClientRect().right) / em;
      if (gap > AIR) root.style.marginRight = `${(AIR - gap).toFixed(3)}em`;
    }
  };
  document.fonts.ready.then(tighten);
  document.addEventListener("toggle", tighten, true);
  addEventListener("beforeprint", tighten); // print.js opens the folds first
}
