// Comfort on top of pages that work without it. No state of its own: what is shown comes from the server.
(() => {
  "use strict";

  // Times are written in the browser's zone until the person chooses one.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `phasegate_tz=${zone}; path=/admin; max-age=31536000; SameSite=Lax`;

  // Live panels: `hx-get=... hx-trigger="refresh" data-refresh="2"` asks again every two seconds while it can be seen.
  // (htmx's own `every` compiles code for its filters, which the Content-Security-Policy forbids.)
  const beat = () => {
    if (document.hidden) return;
    for (const panel of document.querySelectorAll("[data-refresh]")) {
      const due = Number(panel.dataset.due || 0);
      if (Date.now() < due) continue;
      panel.dataset.due = String(Date.now() + 1000 * Number(panel.dataset.refresh));
      if (due) panel.dispatchEvent(new Event("refresh"));
    }
  };
  setInterval(beat, 250);

  // A swap that changes nothing fires the same events: what is said aloud is what the content says, when it is new.
  const announcer = document.getElementById("announcer");
  const announce = () => {
    const said = document.querySelector("main [data-announce]")?.textContent.trim().replace(/\s+/g, " ") || "";
    if (announcer && said && announcer.textContent !== said) announcer.textContent = said;
  };
  document.addEventListener("htmx:after:swap", announce);

  // After a refusal the keyboard is where the words are.
  document.querySelector(".notice.bad[tabindex]")?.focus();

  // The menu of a narrow screen is closed until asked for; of a wide one it is always open.
  for (const menu of document.querySelectorAll("details.menu")) {
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
    });
  }

  // Single keys, for those who left them on: j/k walk the items of a list, `data-key` names what a key presses in the current one, which is
  // the one that had the focus last. Enter on a link or a button is theirs.
  const keys = document.documentElement.hasAttribute("data-shortcuts");
  const items = () => [...document.querySelectorAll("[data-item]")];
  const current = () => document.querySelector("[data-item].current");
  const go = (item) => {
    item?.focus({ preventScroll: true });
    item?.scrollIntoView({ block: "nearest" });
  };
  const step = (by) => {
    const all = items();
    const at = all.indexOf(current());
    go(all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]);
  };
  document.addEventListener("focusin", (event) => {
    const item = event.target.closest("[data-item]");
    if (!item) return;
    current()?.classList.remove("current");
    item.classList.add("current");
  });
  if (keys) go(items().find((item) => `#${item.id}` === location.hash));
  document.addEventListener("keydown", (event) => {
    if (!keys || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    if (event.key === "/") { event.preventDefault(); document.getElementById("search")?.focus(); return; }
    if (event.key === "j" && items().length) return step(1);
    if (event.key === "k" && items().length) return step(-1);
    if (event.key === "Enter" && event.target.closest("a, button, summary, input")) return;
    const named = `[data-key="${CSS.escape(event.key)}"]`;
    const pressed = current()?.querySelector(named) || document.querySelector(`${named}:not([data-item] *)`);
    if (pressed) { event.preventDefault(); pressed.click(); }
  });
})();
