// A text field that lists the names that fit, by the combobox pattern of ARIA. Without this script it is a text field,
// and the service reads what was typed, whatever its case.

const REST = 120; // milliseconds without a key
let lists = 0;

// Ask which names fit a text, and which one it means. If the service does not answer, what was typed counts.
export async function lookUp(address, text, signal) {
  try {
    const answer = await fetch(`${address}?${new URLSearchParams({ text })}`, { signal });
    if (answer.ok && !answer.redirected) return await answer.json();
  } catch {
    // The field works without a list.
  }
  return { names: [], meant: null, told: "" };
}

// Args: address, which lists names; marksMeant, Enter takes the name that the letters mean; take, called after a choice.
// Gives the function that shows the list.
export function listNames(input, address, { marksMeant = false, take = () => {} } = {}) {
  const list = Object.assign(document.createElement("ul"), { id: `names-${(lists += 1)}`, className: "names", hidden: true });
  const state = Object.assign(document.createElement("small"), { className: "names-state" });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", input.labels[0].textContent.trim());
  state.setAttribute("role", "status");
  input.after(list, state);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false" })) {
    input.setAttribute(name, value);
  }
  let marked = -1;
  let isOld = true; // the list is of former letters
  let timer;
  let asking = new AbortController();

  function mark(place) {
    marked = place;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = list.children[place];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function fill(names) {
    list.replaceChildren(
      ...names.map((name, at) => {
        const option = Object.assign(document.createElement("li"), { id: `${list.id}-${at}`, textContent: name });
        option.setAttribute("role", "option");
        return option;
      }),
    );
    list.hidden = !names.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    isOld = false;
    mark(-1);
  }

  function close() {
    clearTimeout(timer);
    asking.abort();
    fill([]);
    isOld = true;
    state.textContent = "";
  }

  async function show() {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const { names, meant, told } = await lookUp(address, input.value.trim(), signal);
    if (signal.aborted) return;
    fill(names);
    state.textContent = told;
    if (marksMeant && meant !== null) mark(names.indexOf(meant));
  }

  function choose(option) {
    input.value = option.textContent;
    close();
    take();
  }

  input.addEventListener("input", () => {
    mark(-1);
    isOld = true;
    asking.abort();
    clearTimeout(timer);
    timer = setTimeout(show, REST);
  });
  input.addEventListener("click", () => {
    if (list.hidden) show();
  });
  input.addEventListener("blur", close);
  async function step(way) {
    if (isOld) await show();
    const count = list.children.length;
    if (!count) return;
    if (marked < 0) mark(way > 0 ? 0 : count - 1);
    else mark((marked + way + count) % count);
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" && marked >= 0) choose(list.children[marked]);
    else if (event.key === "Escape" && !list.hidden) close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(option);
  });
  return show;
}

for (const input of document.querySelectorAll("input[data-names]")) listNames(input, input.dataset.names);
