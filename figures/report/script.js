// The address keeps every choice, as #at=place&table.filter=value; tables read it, and the back button brings it back.
"use strict";

const address = (() => {
  const listeners = [];
  const read = () => {
    const raw = location.hash.slice(1);
    return new URLSearchParams(raw === "" || raw.includes("=") ? raw : { at: safe(raw) });
  };
  const safe = (raw) => { try { return decodeURIComponent(raw); } catch { return raw; } };
  let now = read();
  const tell = () => listeners.forEach((listener) => listener());
  const set = (changes, push = true) => {
    const next = new URLSearchParams(now);
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    if (next.toString() === now.toString()) return;
    now = next;
    history[push ? "pushState" : "replaceState"](null, "", "#" + now);
    tell();
  };
  const clear = (table) => set(Object.fromEntries(["q", "verdict", "rung", "source"].map((field) => [`${table}.${field}`, ""])), false);
  const show = () => {
    const place = now.get("at") && document.getElementById(now.get("at"));
    if (!place) return;
    if (place.hidden) clear(place.closest("[data-table]").dataset.table);
    const focused = place.matches("tbody") ? place.querySelector(".toggle") : place;
    place.scrollIntoView({ block: "start" });
    focused.focus({ preventScroll: true });
  };
  addEventListener("popstate", () => { now = read(); tell(); show(); });
  return { get: (name) => now.get(name) ?? "", set, show, listen: (listener) => listeners.push(listener) };
})();

document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const raw = link.getAttribute("href").slice(1);
  address.set(raw.includes("=") ? Object.fromEntries(new URLSearchParams(raw)) : { at: raw });
  address.show();
});

const say = (words) => { document.getElementById("said").textContent = words; };

// Tables: one tbody an item; filters by the select's name as a data attribute, search in what is marked, or in all.
for (const table of document.querySelectorAll("[data-table]")) {
  const name = table.dataset.table;
  const form = document.querySelector(`[data-filters="${name}"]`);
  const items = [...table.tBodies].map((body, index) => ({ body, index, cells: cellsOf(body), words: null }));
  const choices = [...form.querySelectorAll("select")].filter((select) => select.name !== "sort");
  const search = form.elements.q;
  const order = form.elements.sort;
  let sorted = "";

  function cellsOf(body) {
    const cells = {};
    for (const cell of body.rows[0].cells) cells[cell.dataset.key] = (cell.dataset.sort ?? cell.textContent).trim();
    return cells;
  }
  const wordsOf = (item) => {
    const marked = [...item.body.querySelectorAll(".find")];
    const told = marked.length ? marked.map((part) => part.textContent).join(" ") : item.body.textContent;
    return (item.words ??= (told + " " + item.body.rows[0].textContent).toLowerCase());
  };
  const passes = (item) =>
    choices.every((select) => {
      const wanted = address.get(`${name}.${select.name}`);
      return !wanted || ![...select.options].some((option) => option.value === wanted) || `|${item.body.dataset[select.name]}|`.includes(`|${wanted}|`);
    }) && address.get(`${name}.q`).toLowerCase().split(/\s+/).every((word) => wordsOf(item).includes(word));

  const compared = (key) => {
    const down = key.startsWith("-") ? -1 : 1;
    const column = key.replace("-", "");
    const head = [...table.tHead.rows[0].cells].find((cell) => cell.dataset.key === column);
    if (!head) return (a, b) => a.index - b.index;
    const number = head.dataset.kind === "number" || items.every((item) => /^\d+$/.test(item.cells[column]));
    const value = (item) => (number ? parseFloat(item.cells[column]) : item.cells[column]);
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (number && (Number.isNaN(x) || Number.isNaN(y))) return Number.isNaN(x) - Number.isNaN(y) || a.index - b.index;
      return down * (number ? x - y : x.localeCompare(y, "en")) || a.index - b.index;
    };
  };

  const refresh = () => {
    for (const select of choices) select.value = address.get(`${name}.${select.name}`);
    if (search !== document.activeElement) search.value = address.get(`${name}.q`);
    let shown = 0;
    for (const item of items) { item.body.hidden = !passes(item); shown += !item.body.hidden; }
    const key = address.get(`${name}.sort`);
    if (key !== sorted) {
      table.append(...[...items].sort(compared(key)).map((item) => item.body));
      sorted = key;
    }
    if (order) order.value = key;
    for (const head of table.tHead.rows[0].cells) {
      head.ariaSort = head.dataset.key === key ? "ascending" : `-${head.dataset.key}` === key ? "descending" : "none";
    }
    const count = shown === items.length ? shown : `${shown} of ${items.length}`;
    form.querySelector(".count").textContent = `${count} ${table.dataset.noun}`;
    document.querySelector(`[data-none="${name}"]`).hidden = shown > 0;
  };

  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button") && event.target.closest("th");
    if (!head) return;
    const key = head.dataset.key;
    const next = { [key]: `-${key}`, [`-${key}`]: "" }[address.get(`${name}.sort`)] ?? key;
    address.set({ [`${name}.sort`]: next });
  });
  const chosen = ({ target }) => address.set({ [`${name}.${target.name}`]: target.value.trim() }, target.name !== "q");
  form.addEventListener("input", chosen);
  form.addEventListener("change", chosen);
  form.addEventListener("reset", () => {
    address.set(Object.fromEntries(["q", "sort", ...choices.map((s) => s.name)].map((field) => [`${name}.${field}`, ""])));
    setTimeout(refresh);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  address.listen(refresh);
  refresh();
}

// Rows of the ledger that are open, by the names of their anchors; pictures in them are filled in when they open.
const opened = () => new Set(address.get("ledger.open").split(",").filter(Boolean));
const unfold = () => {
  const open = opened();
  for (const body of document.querySelectorAll(".ledger > tbody")) {
    const now = open.has(body.id);
    body.classList.toggle("opened", now);
    body.querySelector(".toggle").ariaExpanded = String(now);
    if (now) for (const thumb of body.querySelectorAll("img[data-thumb]:not([src])")) thumb.src = pictureOf(thumb.dataset.thumb).src;
  }
};
const pictureOf = (name) => document.querySelector(`img[data-figure="${CSS.escape(name)}"]`);
const turn = (body, wanted) => {
  const open = opened();
  if (wanted ?? !open.has(body.id)) open.add(body.id); else open.delete(body.id);
  address.set({ "ledger.open": [...open].join(",") });
};
document.querySelector(".ledger").addEventListener("click", (event) => {
  const row = event.target.closest(".item");
  if (row && !getSelection().toString()) turn(row.parentElement);
});
document.addEventListener("keydown", (event) => {
  const body = event.key === "Escape" && !document.querySelector("dialog[open]") && event.target.closest(".ledger > tbody.opened");
  if (!body) return;
  turn(body, false);
  body.querySelector(".toggle").focus();
});
address.listen(unfold);
unfold();

// Figures: enlarged in a dialog, which Escape closes; downloaded from the page itself.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".enlarge, .download");
  if (!button) return;
  const picture = pictureOf(button.dataset.shows);
  if (button.matches(".enlarge")) {
    const dialog = document.getElementById("shown");
    const image = dialog.querySelector("img");
    [image.src, image.alt] = [picture.src, picture.alt];
    dialog.showModal();
  } else {
    const link = document.createElement("a");
    [link.href, link.download] = [picture.src, picture.dataset.file];
    link.click();
  }
});

// Copying, with and without the clipboard's own interface.
const copied = async (text) => {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: select and copy */ }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
};
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  event.stopPropagation();
  const { copy, copyFrom } = button.dataset;
  const text = copy ?? (copyFrom ? document.getElementById(copyFrom) : "copyBefore" in button.dataset ? button.previousElementSibling : null)?.textContent;
  const done = await copied(text ?? location.href);
  button.focus();
  const before = (button.dataset.words ??= button.textContent);
  button.textContent = done ? "Copied" : "Not copied";
  say(button.textContent);
  setTimeout(() => { button.textContent = before; }, 1500);
});

// Light and dark: as the system says, until the button is pressed.
const theme = {
  button: document.getElementById("theme"),
  dark: () => getComputedStyle(document.documentElement).colorScheme === "dark",
  label() { this.button.textContent = this.dark() ? "Light" : "Dark"; this.button.ariaLabel = `${this.button.textContent} colours`; },
};
theme.button.addEventListener("click", () => {
  const next = theme.dark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("truerate-theme", next); } catch { /* no storage here */ }
  document.dispatchEvent(new Event("recoloured"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("recoloured")));
document.addEventListener("recoloured", () => theme.label());
theme.label();
