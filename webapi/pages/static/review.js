// Review by keyboard: arrows move, space marks (a checkbox does that by itself), a digit or letters correct the photo,
// Delete rejects it, + enlarges it, Enter certifies all that is not marked, u undoes.
// Without this script the form certifies what is not marked.

const form = document.getElementById("review-form");
const words = form.dataset;
const state = document.getElementById("state");
const told = document.getElementById("told");
const large = document.getElementById("large");
const pick = document.getElementById("pick");
const why = document.getElementById("why");
const label = document.getElementById("pick-label");
const reason = document.getElementById("why-reason");
const labels = [...document.querySelectorAll("#labels option")].map((option) => option.value);
const byDigit = [...document.querySelectorAll(".digits li")].map((item) => item.dataset.label);
const done = []; // numbers of decisions, one list for each step, the last one last
let current = 0;
let waiting = Promise.resolve(); // one request at a time, in the order of the keys

for (const element of document.querySelectorAll(".scripted[hidden]")) element.hidden = false;

const cards = () => [...document.querySelectorAll("#grid > li")];
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

function columns() {
  const all = cards();
  const top = all[0].offsetTop;
  const second = all.findIndex((card) => card.offsetTop > top);
  return second < 0 ? all.length : second;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || pick.open || why.open) return;
  const at = event.target;
  const isOurs = large.open || at === document.body || at.closest("#grid, #main:focus") !== null || at === document.querySelector("main");
  if (!isOurs) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 };
  if (cards().length && (event.key in steps || event.key === "ArrowUp" || event.key === "ArrowDown")) {
    const step = steps[event.key] ?? (event.key === "ArrowUp" ? -columns() : columns());
    move(current + step, !large.open);
  } else if (event.key === "Enter") certify();
  else if (event.key === "u" || event.key === "U") undo();
  else if (event.key === " " && large.open) box(cards()[current]).click();
  else if (event.key === "Delete") ask(why, reason, "");
  else if (event.key === "+") enlarge();
  else if (event.key === "/") ask(pick, label, "");
  else if (/^[1-9]$/.test(event.key) && byDigit[event.key - 1]) correct([cards()[current]], byDigit[event.key - 1]);
  else if (/^\p{L}$/u.test(event.key)) ask(pick, label, event.key);
  else return;
  event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const card = event.target.closest("#grid > li");
  if (card) {
    current = cards().indexOf(card);
    settle();
  }
});
document.addEventListener("change", () => say(""));
document.addEventListener("dblclick", (event) => {
  const card = event.target.closest("#grid > li");
  if (card) {
    move(cards().indexOf(card));
    enlarge();
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  certify();
});
document.getElementById("correct").addEventListener("click", () => ask(pick, label, ""));
document.getElementById("reject").addEventListener("click", () => ask(why, reason, ""));
document.getElementById("enlarge").addEventListener("click", enlarge);
document.getElementById("undo").addEventListener("click", undo);
document.getElementById("large-close").addEventListener("click", () => large.close());
large.addEventListener("close", () => move(current));
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
}

document.getElementById("pick-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = label.value.trim();
  const lower = text.toLocaleLowerCase();
  // The first letters are enough.
  const name = labels.find((each) => each === text) ?? labels.find((each) => each.toLocaleLowerCase().startsWith(lower)) ?? text;
  pick.close();
  correct(asked, name);
});
document.getElementById("why-form").addEventListener("submit", (event) => {
  event.preventDefault();
  why.close();
  send(asked.map((card) => ({ ...base(card), decision: "reject", reason: reason.value })), () => words.rejected);
});
for (const dialog of [pick, why]) dialog.addEventListener("close", () => move(current, !large.open));

function base(card) {
  return { item: card.dataset.item, queue: words.queue, seen: card.dataset.seen };
}

function correct(chosen, name) {
  if (!chosen[0]) return;
  send(
    chosen.map((card) => ({ ...base(card), decision: card.dataset.proposed === name ? "certify" : "correct", label: name })),
    () => `${words.corrected} ${name}.`,
  );
}

function certify() {
  if (large.open) large.close();
  waiting = waiting.then(() => {
    const chosen = cards().filter((card) => !box(card).checked && card.dataset.proposed && !card.classList.contains("sent"));
    const decisions = chosen.map((card) => ({ ...base(card), decision: "certify", label: card.dataset.proposed }));
    return decisions.length ? post(decisions, (count) => `${words.certified} ${count}`) : refresh();
  });
}

function send(decisions, describe) {
  for (const { item } of decisions) cardOf(item)?.classList.add("sent");
  move(current + 1, !large.open);
  waiting = waiting.then(() => post(decisions, describe));
}

async function post(decisions, describe) {
  const answer = await askService(location.pathname, { decisions: JSON.stringify({ decisions }) });
  if (!answer) {
    for (const { item } of decisions) cardOf(item)?.classList.remove("sent");
    return;
  }
  if (answer.decided.length) done.push(answer.decided.map((each) => each.decision));
  const at = cards()[current];
  for (const { item } of decisions) cardOf(item)?.remove();
  move(at?.isConnected ? cards().indexOf(at) : current, !large.open);
  say(describe(answer.decided.length));
  tell(answer.told);
  if (cards().every((card) => box(card).checked)) await refresh();
}

function undo() {
  waiting = waiting.then(async () => {
    const numbers = done.at(-1);
    if (!numbers) return say(words.nothing);
    const answer = await askService(words.undo, { decisions: JSON.stringify({ ids: numbers }) });
    if (!answer) return;
    done.pop();
    await refresh();
    say(`${words.undone} ${answer.undone.length}`);
    tell(answer.told);
  });
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
    const alert = page.querySelector("[role=alert]") ?? page.querySelector("main");
    tell([answer.status === 401 ? words.ended : alert?.textContent.replace(/\s+/g, " ").trim() || words.offline]);
  } catch {
    say("");
    tell([words.offline]);
  }
  return null;
}

// Show what waits now; marks stay.
async function refresh() {
  const marked = new Set(cards().filter((card) => box(card).checked).map((card) => card.dataset.item));
  const answer = await fetch(location.href);
  if (!answer.ok || answer.redirected) return tell([words.ended]);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.getElementById("page").replaceWith(document.adoptNode(page.getElementById("page")));
  document.querySelector(".classes").replaceWith(document.adoptNode(page.querySelector(".classes")));
  for (const card of cards()) box(card).checked = marked.has(card.dataset.item);
  current = Math.max(0, cards().findIndex((card) => !box(card).checked));
  move(current, !large.open);
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

async function showSimilar(card) {
  const list = document.getElementById("large-similar");
  list.replaceChildren();
  const answer = await fetch(words.similar.replace("-", card.dataset.image)).catch(() => null);
  const photos = answer?.ok ? (await answer.json()).photos : [];
  if (cards()[current] !== card) return; // another photo is shown by now
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
  return document.querySelector(`#grid > li[data-item="${CSS.escape(item)}"]`);
}

function say(text) {
  state.textContent = text;
}

function tell(lines) {
  told.replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { className: "message", textContent: line })));
}

settle();
move(0);
