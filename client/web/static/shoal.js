"use strict";
// The page is rendered by the server; this sends its forms to the API, and fetches again what changes by itself.
//
//   <form data-call="POST /api/v1/pause">   the fields go as JSON; data-as says which are numbers, booleans or texts
//     data-then="go:/concepts" | "live"     what to show when it is done; otherwise the page anew
//     data-confirm, data-yes, data-told     a question before, the word for yes, and what is told afterwards
//   <section id data-live="2">              is fetched again every so many seconds while somebody looks
//   <button data-key="ArrowLeft">           is pressed by that key

const at = document.documentElement.dataset.at; // the page's own place on this port: what every path here stands under
const told = (text) => { const place = document.getElementById("told"); if (place) place.textContent = text; };

function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || (field.type === "radio" && !field.checked)) continue;
    const as = field.dataset.as;
    if (as === "boolean") found[field.name] = field.checked;
    else if (as === "number") { if (field.value !== "") found[field.name] = Number(field.value); }
    else if (as === "text" || field.value !== "") found[field.name] = field.value;
  }
  return found;
}

async function call(method, path, body) {
  const request = { method, credentials: "same-origin", headers: {} };
  if (body !== undefined) {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let answer;
  try { answer = await fetch(at + path, request); } catch { throw new Error("Shoal does not answer: does it still run?"); }
  if (answer.ok) return answer;
  let detail = "";
  try { detail = (await answer.json()).detail; } catch { /* said below */ }
  if (answer.status === 401 && !document.querySelector("[data-enter]")) location.assign(`${at}/enter`);
  throw new Error(detail || `this did not work (${answer.status})`);
}

function sure(form) {
  const dialog = document.getElementById("sure");
  if (!form.dataset.confirm || !dialog) return Promise.resolve(true);
  dialog.querySelector("#sure-text").textContent = form.dataset.confirm;
  dialog.querySelector("[value=yes]").textContent = form.dataset.yes || "Yes";
  dialog.showModal();
  return new Promise((resolve) => {
    const close = (event) => dialog.close(event.target.closest("button").value);
    for (const button of dialog.querySelectorAll("button")) button.onclick = close;
    dialog.onclose = () => { resolve(dialog.returnValue === "yes"); dialog.returnValue = ""; };
  });
}

function say(form, text) {
  const place = form.querySelector("[role=alert]");
  if (!place) { told(text); return; }
  place.textContent = text;
  place.hidden = !text;
}

async function submit(form) {
  if (form.dataset.busy || !(await sure(form))) return;
  const [method, path] = form.dataset.call.split(" ");
  const body = values(form);
  form.dataset.busy = "yes";
  say(form, "");
  try {
    await call(method, path, Object.keys(body).length ? body : undefined);
    const then = form.dataset.then || "again";
    if (then.startsWith("go:")) location.assign(at + then.slice(3));
    else { await refresh(then === "live" ? "[data-live]" : "main, .switch"); told(form.dataset.told || ""); }
  } catch (error) { say(form, error.message); }
  delete form.dataset.busy;
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-call]");
  if (form) { event.preventDefault(); submit(form); }
});

async function refresh(selector) {
  let text;
  try { text = await (await call("GET", location.pathname.slice(at.length) + location.search)).text(); } catch { return; }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const old of document.querySelectorAll(selector)) {
    const next = old.id ? fresh.getElementById(old.id) : fresh.querySelector(selector.split(", ").find((one) => old.matches(one)));
    if (!next || next.isEqualNode(old)) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const again = focused && (focused.getAttribute("aria-label") || focused.textContent);
    old.replaceWith(next);
    if (!focused) continue;
    const same = [...next.querySelectorAll("button, a, summary")].find((one) => (one.getAttribute("aria-label") || one.textContent) === again);
    (same || document.getElementById("main")).focus({ preventScroll: true });
  }
}

let seconds = 0;
setInterval(() => {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  seconds += 1;
  const due = [...document.querySelectorAll("[data-live]")].filter((one) => {
    const every = Number(one.dataset.live);
    return every > 0 && seconds % every === 0 && one.dataset.while !== "";
  });
  if (due.length) refresh(due.map((one) => `#${one.id}`).join(", "));
}, 1000);

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-insert]");
  if (!chip) return;
  const field = chip.closest("form").querySelector("textarea");
  field.setRangeText(chip.dataset.insert, field.selectionStart, field.selectionEnd, "end");
  field.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("textarea[data-submit]") && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
  if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const button = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (button) { event.preventDefault(); button.click(); }
});

// A one-time link: its code stands in the fragment, which browsers never send, and is taken out of the history.
const gate = document.querySelector("[data-enter]");
const code = location.hash.slice(1);
if (gate && code) {
  history.replaceState(null, "", location.pathname);
  call("POST", "/api/v1/session", { code }).then(() => location.replace(`${at}/`), (error) => {
    const place = gate.querySelector("[role=alert]");
    place.textContent = error.message;
    place.hidden = false;
  });
}
