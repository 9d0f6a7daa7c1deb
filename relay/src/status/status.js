// Updates the page: fetches it again and replaces its live parts. It waits while text is selected.
"use strict";

const EVERY_MS = 2000;
const LIMIT_MS = 5000;
const lost = document.getElementById("lost");

function replaceParts(page) {
  document.title = page.title;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh) part.replaceChildren(...fresh.childNodes);
  }
}

async function refresh() {
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(LIMIT_MS) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (getSelection().isCollapsed) replaceParts(page);
    lost.hidden = true;
  } catch {
    if (lost.hidden) lost.textContent = `The relay has not answered since ${new Date().toLocaleTimeString()}. The page shows an earlier state.`;
    lost.hidden = false;
  }
}

async function run() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY_MS));
    if (!document.hidden) await refresh();
  }
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
run();
