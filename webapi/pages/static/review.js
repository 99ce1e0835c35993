// Review by keyboard: arrows move, space marks (a checkbox does that by itself), a digit or letters correct the photo,
// Delete rejects it, + enlarges it, Enter certifies all that is not marked, u undoes. In the large view Enter closes it.
// Without this script the form certifies what is not marked.

import { showTimes } from "./local-times.js";
import { listNames, lookUp } from "./name-fields.js";

const REST = 200; // milliseconds
const DOUBLE = 1000; // the two halves of a double click are nearer
const form = document.getElementById("review-form");
const words = form.dataset;
const state = document.getElementById("state");
const told = document.getElementById("told");
const large = document.getElementById("large");
const pick = document.getElementById("pick");
const why = document.getElementById("why");
const label = document.getElementById("pick-label");
const reason = document.getElementById("why-reason");
const byDigit = new Map([...document.querySelectorAll(".digits li")].map(({ dataset }) => [dataset.digit, dataset.label]));
const kept = `decided ${words.account} ${words.queue}`; // in the tab's storage: undo works after a change of pages
const done = JSON.parse(sessionStorage.getItem(kept) ?? "[]"); // numbers of decisions, a list for each step
let current = 0;
let waiting = Promise.resolve(); // one request at a time, in the order of the keys
let pressedAt = 0; // when the key was pressed whose request is under way
let toldAt = 0;
let isCertifying = false;
let chosenAt = -Infinity; // when a name below a photo was clicked
let similar = new AbortController(); // of the question that the large view asks

for (const element of document.querySelectorAll(".scripted[hidden]")) element.hidden = false;

const CARD = "#grid li[data-item]";
const cards = () => [...document.querySelectorAll(CARD)]; // of all classes, in the order of reading
const box = (card) => card.querySelector("input[type=checkbox]");

function settle() {
  const all = cards();
  current = Math.max(0, Math.min(current, all.length - 1));
  all.forEach((card, place) => {
    box(card).tabIndex = place === current ? 0 : -1;
  });
}

function move(place, focus = true) {
  const all = cards();
  if (!all.length) return;
  current = Math.max(0, Math.min(place, all.length - 1));
  settle();
  if (focus) box(all[current]).focus();
  if (large.open) enlarge();
}

// The place of the nearest photo in the next row, or in the row before, also of another class. Args: way, 1 or -1.
function beside(way) {
  const spots = cards().map((card, place) => {
    const { top, left } = card.getBoundingClientRect();
    return { place, top, left };
  });
  const here = spots[current];
  const ahead = spots.filter(({ top }) => (top - here.top) * way > 1);
  const row = Math.min(...ahead.map(({ top }) => top * way)) * way;
  const across = ahead.filter(({ top }) => Math.abs(top - row) < 1);
  across.sort((one, other) => Math.abs(one.left - here.left) - Math.abs(other.left - here.left));
  return across[0]?.place ?? current;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || pick.open || why.open) return;
  const at = event.target;
  const isOurs = large.open || at === document.body || at.closest("#grid, #main:focus") !== null || at === document.querySelector("main");
  // A key that is held only moves: what it would decide about next, nobody has seen.
  if (event.repeat && (event.key.length === 1 || event.key === "Enter" || event.key === "Delete")) {
    event.preventDefault();
    return;
  }
  if (!isOurs || (at.closest("[data-choice]") && (event.key === "Enter" || event.key === " "))) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 };
  if (cards().length && (event.key in steps || event.key === "ArrowUp" || event.key === "ArrowDown")) {
    const place = event.key in steps ? current + steps[event.key] : beside(event.key === "ArrowUp" ? -1 : 1);
    move(place, !large.open);
  } else if (event.key === "Enter") {
    if (large.open) large.close();
    else certify();
  }
  else if (event.key === "u" || event.key === "U") undo();
  else if (event.key === " " && large.open) box(cards()[current]).click();
  else if (event.key === "Delete") ask(why, reason, "");
  else if (event.key === "+") enlarge();
  else if (event.key === "/") ask(pick, label, "");
  else if (byDigit.has(event.key)) correct([cards()[current]], byDigit.get(event.key));
  else if (/^\p{L}$/u.test(event.key)) ask(pick, label, event.key);
  else return;
  event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const card = event.target.closest(CARD);
  if (card) {
    current = cards().indexOf(card);
    settle();
  }
});
document.addEventListener("change", () => say(""));
document.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-choice]");
  if (!choice) return;
  event.preventDefault();
  if (event.detail > 1) return; // a double click means once: the next photo may lie under its second half
  chosenAt = event.timeStamp;
  const card = choice.closest(CARD);
  move(cards().indexOf(card));
  if (!card.classList.contains("sent")) correct([card], choice.dataset.choice);
});
document.addEventListener("dblclick", (event) => {
  const card = event.target.closest(CARD);
  if (card && event.timeStamp - chosenAt > DOUBLE) {
    move(cards().indexOf(card));
    enlarge();
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  certify();
});
document.getElementById("certify").addEventListener("click", (event) => {
  if (event.detail > 1) event.preventDefault(); // a double click means once
});
document.getElementById("correct").addEventListener("click", () => ask(pick, label, ""));
document.getElementById("reject").addEventListener("click", () => ask(why, reason, ""));
document.getElementById("enlarge").addEventListener("click", enlarge);
document.getElementById("undo").addEventListener("click", undo);
document.getElementById("large-close").addEventListener("click", () => large.close());
large.addEventListener("close", () => {
  similar.abort();
  move(current);
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

let asked = []; // the photos that a dialog is about

function ask(dialog, input, start) {
  const all = cards();
  if (!all.length) return;
  const marked = all.filter((card) => box(card).checked);
  const card = all[current];
  asked = box(card).checked ? marked : [card];
  input.value = start;
  dialog.showModal();
  input.focus();
  if (dialog === pick) showNames();
}

const pickForm = document.getElementById("pick-form");
const showNames = listNames(label, words.names, { marksMeant: true, take: () => pickForm.requestSubmit() });
pickForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = label.value.trim();
  pick.close();
  // The first letters are enough.
  if (text) correct(asked, text, lookUp(words.names, text));
});
document.getElementById("why-form").addEventListener("submit", (event) => {
  event.preventDefault();
  why.close();
  const because = reason.value;
  send(asked, () => asked.map((card) => ({ ...base(card), decision: "reject", reason: because })), () => words.rejected);
});
for (const dialog of [pick, why]) dialog.addEventListener("close", () => move(current, !large.open));

function base(card) {
  return { item: card.dataset.item, queue: words.queue, seen: card.dataset.seen };
}

// Args: text, what was typed or the name of a class; looked, the names that fit it, if it was typed.
function correct(chosen, text, looked = null) {
  if (!chosen[0]) return;
  let name = text;
  let near = [];
  async function decide() {
    const found = await looked;
    name = found?.meant ?? text;
    near = found && found.meant === null ? found.names : [];
    return chosen.map((card) => ({ ...base(card), decision: card.dataset.proposed === name ? "certify" : "correct", label: name }));
  }
  send(chosen, decide, () => `${words.corrected} ${name}.`, () => near);
}

function certify() {
  if (isCertifying) return;
  isCertifying = true;
  const chosen = cards().filter((card) => !box(card).checked && card.dataset.proposed && !card.classList.contains("sent"));
  const decisions = chosen.map((card) => ({ ...base(card), decision: "certify", label: card.dataset.proposed }));
  for (const card of chosen) card.classList.add("sent");
  const step = () => (decisions.length ? post(decisions, (count) => `${words.certified} ${count}`) : refresh().then(tell));
  inTurn(step).then(() => {
    isCertifying = false;
  });
}

// Args: decide, gives the decisions about the chosen photos when it is their turn; suggest, names that were perhaps meant.
function send(chosen, decide, describe, suggest = () => []) {
  for (const card of chosen) card.classList.add("sent");
  move(current + 1, !large.open);
  inTurn(async () => {
    const isDone = await post(await decide(), describe);
    if (!isDone && suggest().length) told.lastChild.append(` ${words.near} ${suggest().join(", ")}.`);
  });
}

function inTurn(step) {
  const at = performance.now();
  const begin = () => {
    pressedAt = at;
    return step();
  };
  waiting = waiting.then(begin).catch((error) => {
    reportError(error);
    tell([{ text: words.offline }]);
  });
  return waiting;
}

async function post(decisions, describe) {
  const answer = await askService(location.pathname, { decisions: JSON.stringify({ decisions }) });
  if (!answer) {
    for (const { item, decision } of decisions) {
      const card = cardOf(item);
      card?.classList.remove("sent");
      // It was called wrong, so it is not certified with all that is not marked.
      if (card && decision !== "certify") box(card).checked = true;
    }
    return false;
  }
  if (answer.decided.length) remember([...done, answer.decided.map((each) => each.decision)]);
  const at = cards()[current];
  for (const { item } of decisions) take(cardOf(item));
  move(at?.isConnected ? cards().indexOf(at) : current, !large.open);
  say(describe(answer.decided.length));
  tell(answer.told);
  if (cards().every((card) => box(card).checked)) tell(await refresh());
  return true;
}

// Take a photo off the page, and its class once it has no other.
function take(card) {
  const group = card?.closest(".group");
  card?.remove();
  if (!group) return;
  for (const number of group.querySelectorAll("[data-here], [data-total]")) number.textContent -= 1;
  if (!group.querySelector("li")) group.remove();
}

function undo() {
  inTurn(async () => {
    const numbers = done.at(-1);
    if (!numbers) return say(words.nothing);
    const answer = await askService(words.undo, { decisions: JSON.stringify({ ids: numbers }) });
    if (!answer) return;
    remember(done.slice(0, -1));
    const faults = await refresh();
    say(`${words.undone} ${answer.undone.length}`);
    tell([...answer.told, ...faults]);
  });
}

function remember(steps) {
  done.splice(0, done.length, ...steps);
  sessionStorage.setItem(kept, JSON.stringify(done));
}

// Ask the service; null if it refuses, which is told. A form's token may be older than the session: then once more.
async function askService(address, fields, isAgain = false) {
  say(words.working);
  try {
    const data = new FormData();
    data.append("csrf_token", form.elements.csrf_token.value);
    for (const [name, value] of Object.entries(fields)) data.append(name, value);
    const answer = await fetch(address, { method: "POST", body: data });
    if (answer.ok && answer.headers.get("Content-Type").startsWith("application/json")) return await answer.json();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const token = page.querySelector("[name=csrf_token]");
    if (token) form.elements.csrf_token.value = token.value;
    if (answer.status === 400 && token && !isAgain) return await askService(address, fields, true);
    say("");
    tell([refusal(answer, page)]);
  } catch {
    say("");
    tell([{ text: words.offline }]);
  }
  return null;
}

// Why an answer is of no use.
function refusal(answer, page) {
  if (answer.status === 401 || answer.redirected) return { text: words.ended };
  const alert = page.querySelector("[role=alert]") ?? page.querySelector("main");
  return { text: alert?.textContent.replace(/\s+/g, " ").trim() || words.offline };
}

// Show what waits now; marks stay, and what is being sent. Gives what there is to tell.
async function refresh() {
  let page;
  try {
    const answer = await fetch(location.href);
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok || answer.redirected) return [refusal(answer, page)];
  } catch {
    return [{ text: words.offline }];
  }
  const marked = new Set(cards().filter((card) => box(card).checked).map((card) => card.dataset.item));
  const sent = new Set(cards().filter((card) => card.classList.contains("sent")).map((card) => card.dataset.item));
  document.getElementById("page").replaceWith(document.adoptNode(page.getElementById("page")));
  document.querySelector(".classes").replaceWith(document.adoptNode(page.querySelector(".classes")));
  for (const card of cards()) {
    box(card).checked = marked.has(card.dataset.item);
    card.classList.toggle("sent", sent.has(card.dataset.item));
  }
  showTimes(document.getElementById("page"));
  current = Math.max(0, cards().findIndex((card) => !box(card).checked));
  move(current, !large.open);
  return [];
}

function enlarge() {
  const card = cards()[current];
  if (!card) return;
  document.getElementById("large-title").textContent = card.querySelector(".name").textContent;
  const photo = document.getElementById("large-photo");
  photo.src = card.dataset.photo;
  photo.alt = card.querySelector("img").alt;
  const facts = card.querySelector("template").content.cloneNode(true);
  document.getElementById("large-facts").replaceChildren(card.querySelector(".facts").cloneNode(true), facts);
  if (!large.open) large.showModal();
  showSimilar(card);
}

// Ask for similar photos once the large view rests on a photo.
async function showSimilar(card) {
  const list = document.getElementById("large-similar");
  list.replaceChildren();
  similar.abort();
  similar = new AbortController();
  const { signal } = similar;
  await new Promise((resolve) => setTimeout(resolve, REST));
  if (signal.aborted || !large.open) return;
  let photos = [];
  try {
    const answer = await fetch(words.similar.replace("-", card.dataset.image), { signal });
    if (answer.ok) ({ photos } = await answer.json());
  } catch {
    // Without an answer there are none to show.
  }
  if (signal.aborted) return;
  for (const { url, label: name, credit } of photos) {
    const item = document.createElement("li");
    const image = document.createElement("img");
    Object.assign(image, { src: url, alt: name, loading: "lazy" });
    const text = document.createElement("small");
    text.textContent = credit ? `${name} (${credit})` : name;
    item.append(image, text);
    list.append(item);
  }
  if (!photos.length) list.append(Object.assign(document.createElement("li"), { textContent: words.noneSimilar }));
}

function cardOf(item) {
  return document.querySelector(`#grid li[data-item="${CSS.escape(item)}"]`);
}

function say(text) {
  state.textContent = text;
}

// What was told after the key was pressed stays: nobody has read it yet.
// Args: lines, each a text and at times the moment when it happened.
function tell(lines) {
  if (toldAt < pressedAt) told.replaceChildren();
  if (lines.length) toldAt = performance.now();
  told.append(
    ...lines.map(({ text, at }) => {
      const line = Object.assign(document.createElement("p"), { className: "message", textContent: text });
      if (at) line.append(" ", Object.assign(document.createElement("time"), { dateTime: at }));
      return line;
    }),
  );
  showTimes(told);
}

settle();
move(0);
