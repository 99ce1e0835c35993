// Name many photos: check the ZIP before it is sent, and show how much of it has arrived.
// Without this script the form sends the same.

const form = document.getElementById("many-form");
const words = form.dataset;
const archive = document.getElementById("archive");
const state = document.getElementById("many-status");
const bar = document.getElementById("sent");
const send = document.getElementById("send");

form.addEventListener("submit", (event) => {
  const [file] = archive.files;
  if (!file && !form.elements.urls.value.trim()) {
    event.preventDefault();
    say(words.missing);
  } else if (file && file.size > Number(words.mostBytes)) {
    event.preventDefault();
    say(words.tooLarge);
  } else if (file) {
    event.preventDefault();
    post();
  }
});

// fetch does not tell how much it has sent.
function post() {
  const request = new XMLHttpRequest();
  busy(true);
  say(words.sending);
  request.upload.addEventListener("progress", (event) => {
    bar.max = event.total || 1;
    bar.value = event.loaded;
  });
  request.upload.addEventListener("load", () => say(words.checking));
  request.addEventListener("error", () => fail(words.offline));
  request.addEventListener("load", () => {
    if (request.status === 200) location.assign(request.responseURL);
    else if (request.status === 401) fail(words.ended);
    else refuse(request.responseText);
  });
  request.open("POST", form.action);
  request.send(new FormData(form));
}

function refuse(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const token = page.querySelector("#many-form [name=csrf_token]");
  if (token) form.elements.csrf_token.value = token.value;
  const parts = [...(page.querySelector("[role=alert]")?.children ?? [])];
  fail(parts.map((part) => part.textContent.replace(/\s+/g, " ").trim()).join(". ") || words.offline);
}

function fail(text) {
  busy(false);
  say(text);
}

function busy(is) {
  send.disabled = is;
  bar.hidden = !is;
  bar.value = 0;
  form.setAttribute("aria-busy", String(is));
}

function say(text) {
  state.textContent = text;
}
