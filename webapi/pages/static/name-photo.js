// Name a photo: pick, drop, paste or take it; show it at once; scale it down if it is large; send it.
// Without this script the form sends the chosen file as it is.

const LONGEST_SIDE = 2048; // pixels; the model sees far fewer
const QUALITIES = [0.9, 0.8, 0.65, 0.5];

const form = document.getElementById("photo-form");
const words = form.dataset;
const mostBytes = Number(words.mostBytes);
const preview = document.getElementById("preview");
const state = document.getElementById("photo-status");
const send = document.getElementById("send");
const drop = document.getElementById("drop");
const url = form.elements.url;
let photo = null; // what will be sent
let choice = 0; // counts choices: a slow one must not replace a later one

for (const element of document.querySelectorAll(".scripted[hidden]")) element.hidden = false;
drop.querySelector(".picks").classList.add("scripted");
for (const input of form.querySelectorAll("input[type=file]")) {
  input.removeAttribute("name"); // the prepared photo is sent instead
  input.addEventListener("change", () => {
    if (input.files.length) choose(input.files[0]);
    input.value = "";
  });
}

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) addEventListener(kind, () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    take(event.clipboardData);
  }
});

function take(transfer) {
  const address = transfer.getData("text/uri-list").split("\n")[0].trim();
  if (transfer.files.length) choose(transfer.files[0]);
  else if (address) {
    url.value = address;
    url.closest("details").open = true;
    forgetPhoto();
  }
}

// What was named last is sent: an address takes the place of a photo, as a photo takes that of an address.
url.addEventListener("input", () => {
  if (url.value.trim()) forgetPhoto();
});

function forgetPhoto() {
  choice += 1;
  photo = null;
  preview.hidden = true;
  say("");
}

async function choose(file) {
  const mine = ++choice;
  photo = null;
  say("");
  let prepared = file;
  let shown = null;
  try {
    // The browser turns the picture upright here; a scaled copy has no other sign of how the phone was held.
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    if (file.size > mostBytes) prepared = await shrink(bitmap);
    bitmap.close();
    shown = URL.createObjectURL(file);
  } catch {
    // Not a picture for this browser, but perhaps for the service: HEIC and TIFF.
  }
  if (mine !== choice) return;
  preview.hidden = shown === null;
  if (shown !== null) preview.querySelector("img").src = shown;
  if (shown === null && file.type && !file.type.startsWith("image/")) return say(words.noPhoto);
  if (prepared === null || prepared.size > mostBytes) return say(words.tooLarge);
  photo = prepared;
  url.value = "";
  say(prepared === file ? words.ready : words.scaled);
  send.focus();
}

async function shrink(bitmap) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // a JPEG cannot be transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  for (const quality of QUALITIES) {
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (blob !== null && blob.size <= mostBytes) return blob;
  }
  return null;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (photo === null && !url.value.trim()) say(words.missing);
  else post();
});

async function post() {
  busy(true);
  try {
    const data = new FormData(form);
    if (photo !== null) data.append("file", photo, "photo");
    const answer = await fetch(form.action, { method: "POST", body: data });
    if (answer.ok) {
      location.assign(answer.url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    renewToken(page);
    busy(false);
    if (answer.status === 401) askToLogIn(page);
    else say(textOf(page.querySelector("[role=alert]")));
  } catch {
    busy(false);
    say(words.offline);
  }
}

function askToLogIn(page) {
  const dialog = document.getElementById("login-dialog");
  const login = document.adoptNode(page.getElementById("login-form"));
  login.addEventListener("submit", async (event) => {
    event.preventDefault();
    let problem = words.offline;
    try {
      const answer = await fetch(login.action, { method: "POST", body: new FormData(login) });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok) {
        renewToken(next);
        dialog.close();
        post();
        return;
      }
      problem = textOf(next.querySelector("[role=alert]"));
    } catch {
      // The connection is lost: what was typed stays, and the button works again later.
    }
    for (const old of dialog.querySelectorAll(".message")) old.remove();
    const message = Object.assign(document.createElement("p"), { className: "message", textContent: problem });
    message.setAttribute("role", "alert");
    login.before(message);
  });
  document.getElementById("login-place").replaceChildren(login);
  if (!dialog.open) dialog.showModal();
}

function renewToken(page) {
  const token = page.querySelector("#photo-form [name=csrf_token], [name=csrf_token]");
  if (token) form.elements.csrf_token.value = token.value;
}

function busy(is) {
  send.disabled = is;
  form.setAttribute("aria-busy", String(is));
  if (is) say(words.working);
}

function say(text) {
  state.textContent = text;
}

function textOf(element) {
  const parts = [...(element?.children ?? [])].map((part) => part.textContent.replace(/\s+/g, " ").trim());
  return parts.map((part) => (/[.!?:]$/.test(part) ? part : `${part}.`)).join(" ") || words.offline;
}
