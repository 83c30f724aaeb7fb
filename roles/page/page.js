// Keeps the page up with what it shows: fetches it every second while it is looked
// at, and takes over what has changed, so that open rows, focus and place stay.
"use strict";

const every = 1000;
const patience = 5000;
const live = document.getElementById("live");

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

// follow makes the element old what the element now is.
function follow(old, now) {
  for (const { name } of [...old.attributes]) {
    // Whether a row is open is the reader's to say.
    if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  let at = old.firstChild;
  for (const want of now.childNodes) {
    if (want.id) {
      const moved = [...old.children].find((c) => c.id === want.id);
      if (moved && moved !== at) {
        old.insertBefore(moved, at);
        at = moved;
      }
    }
    if (!at || !alike(at, want)) {
      old.insertBefore(document.importNode(want, true), at);
      continue;
    }
    if (at.nodeType === Node.TEXT_NODE) {
      if (at.data !== want.data) at.data = want.data;
    } else if (at.nodeType === Node.ELEMENT_NODE) {
      follow(at, want);
    }
    at = at.nextSibling;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (answer.status === 401) {
        location.reload();
        return;
      }
      const now = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = now.querySelector("main");
      if (!main) throw new Error(answer.statusText);
      follow(document.querySelector("main"), main);
      live.replaceChildren(...now.getElementById("live").childNodes);
      live.className = "on";
    } catch {
      live.className = "off";
      if (!live.textContent.startsWith("no answer")) live.prepend("no answer; ");
    }
  }
  setTimeout(look, every);
}

setTimeout(look, every);
