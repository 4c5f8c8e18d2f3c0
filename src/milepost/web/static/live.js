// Follow the server's events: the progress is put in place, and new metrics replace the content of <main>, while
// scroll position, focus, open details and what was typed stay.
"use strict";

const events = new EventSource(`/events${location.search}`);
let shown = Number(document.body.dataset.records);
let refreshing = false;

events.onmessage = (message) => {
  const state = JSON.parse(message.data);
  document.getElementById("progress").innerHTML = state.progress;
  if (state.records !== shown) refresh();
};

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    shown = Number(page.body.dataset.records);
    replace(document.getElementById("main"), page.getElementById("main"));
    document.title = page.title;
    document.dispatchEvent(new Event("milepost:replaced"));
  } finally {
    refreshing = false;
  }
}

function replace(old, fresh) {
  const at = { x: scrollX, y: scrollY, focus: pathTo(old, document.activeElement) };
  const open = [...old.querySelectorAll("details")].map((each) => each.open);
  const typed = [...old.querySelectorAll("input, select")].map((each) => [each.value, each.checked]);
  const caret = document.activeElement.selectionStart;
  fresh.querySelectorAll("details").forEach((each, i) => (each.open = open[i] ?? each.open));
  fresh.querySelectorAll("input, select").forEach((each, i) => {
    if (typed[i]) [each.value, each.checked] = typed[i];
  });
  old.replaceChildren(...fresh.childNodes);
  const focused = at.focus && at.focus.reduce((node, i) => node && node.children[i], old);
  if (focused && focused !== old) {
    focused.focus({ preventScroll: true });
    if (caret != null && focused.setSelectionRange) focused.setSelectionRange(caret, caret);
  }
  scrollTo(at.x, at.y);
}

// The way from an element to one inside it, as numbers of children; null if it is not inside.
function pathTo(root, node) {
  const way = [];
  for (; node && node !== root; node = node.parentElement) way.unshift([...node.parentElement?.children ?? []].indexOf(node));
  return node === root && way.length ? way : null;
}
