// Review by keyboard. Without this script the same form works with a mouse and the tab key.

const form = document.getElementById("review");
const undoForm = document.getElementById("undo");
const dialog = document.getElementById("large-dialog");
const tiles = form ? [...form.querySelectorAll("[data-tile]")] : [];
const digits = form ? JSON.parse(form.dataset.digits) : [];
const changes = []; // what was changed and not sent yet, for undoing: each puts one tile back
let current = 0;

const photoOf = (tile) => tile.querySelector(".photo");
const asideOf = (tile) => tile.querySelector("[name^='aside.']");
const labelOf = (tile) => tile.querySelector("[name^='label.']");
const proposedOf = (tile) => tile.querySelector("[name^='proposed.']").value;

function show(tile) {
  tile.classList.toggle("is-aside", asideOf(tile).checked);
  tile.classList.toggle("is-changed", labelOf(tile).value !== proposedOf(tile));
}

function go(index) {
  current = Math.max(0, Math.min(tiles.length - 1, index));
  photoOf(tiles[current]).focus();
  tiles[current].scrollIntoView({ block: "nearest" });
}

function columns() {
  const top = tiles[0].offsetTop;
  const second = tiles.findIndex((tile) => tile.offsetTop !== top);
  return second < 0 ? tiles.length : second;
}

function change(tile, values) {
  const before = { aside: asideOf(tile).checked, label: labelOf(tile).value };
  changes.push(() => apply(tile, before));
  apply(tile, { ...before, ...values });
}

function apply(tile, { aside, label }) {
  asideOf(tile).checked = aside;
  labelOf(tile).value = label;
  show(tile);
}

function undo() {
  const last = changes.pop();
  if (last) last();
  else if (undoForm) undoForm.requestSubmit();
}

async function showLarge(tile) {
  const answer = await fetch(photoOf(tile).href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const large = page.getElementById("large");
  if (!large) {
    location.assign(photoOf(tile).href); // the session has ended, or the photo is gone: that page says so
    return;
  }
  for (const image of large.querySelectorAll("img")) image.loading = "eager";
  document.getElementById("large-place").replaceChildren(document.adoptNode(large));
  dialog.showModal();
}

function writeLabel(tile, letter) {
  const input = labelOf(tile);
  const before = input.value;
  input.dataset.before = before;
  input.value = letter;
  input.focus();
  input.setSelectionRange(1, 1);
}

function complete(text) {
  const names = [...document.querySelectorAll("#known-names option")].map((option) => option.value);
  const start = text.trim().toLowerCase();
  return names.find((name) => name.toLowerCase() === start) ?? names.find((name) => name.toLowerCase().startsWith(start)) ?? text;
}

const MOVES = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns() };

function onTileKey(event, tile) {
  const digit = "1234567890".indexOf(event.key);
  if (event.key in MOVES) go(current + MOVES[event.key]());
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(tiles.length - 1);
  else if (event.key === " ") change(tile, { aside: !asideOf(tile).checked });
  else if (event.key === "Enter") form.requestSubmit();
  else if (event.key === "u") undo();
  else if (event.key === "v") showLarge(tile);
  else if (event.key.length === 1 && digit >= 0) {
    if (digits[digit] !== undefined) change(tile, { label: digits[digit], aside: false });
  } else if (event.key.length === 1 && /\p{L}/u.test(event.key)) writeLabel(tile, event.key);
  else return;
  event.preventDefault();
}

function onLabelKey(event, tile) {
  const input = labelOf(tile);
  const before = input.dataset.before ?? proposedOf(tile);
  if (event.key === "Enter") {
    const chosen = complete(input.value);
    input.value = before;
    change(tile, { label: chosen, aside: false });
  } else if (event.key === "Escape") {
    input.value = before;
    show(tile);
  } else return;
  event.preventDefault();
  delete input.dataset.before;
  go(tiles.indexOf(tile));
}

for (const [index, tile] of tiles.entries()) {
  show(tile);
  photoOf(tile).addEventListener("focus", () => (current = index));
  photoOf(tile).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(index);
    showLarge(tile);
  });
  photoOf(tile).addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) onTileKey(event, tile);
  });
  labelOf(tile).addEventListener("focus", (event) => (event.target.dataset.before ??= event.target.value));
  labelOf(tile).addEventListener("keydown", (event) => onLabelKey(event, tile));
  tile.addEventListener("change", () => show(tile));
}
if (tiles.length) go(0);
else
  addEventListener("keydown", (event) => {
    if (event.key === "u" && event.target === document.body) undo();
  });
document.getElementById("close-large").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => tiles.length && go(current));
dialog.addEventListener("keydown", (event) => event.key === "v" && dialog.close());
