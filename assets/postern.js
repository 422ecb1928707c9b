// Everything works without this. It writes times in the reader's zone, moves to the first error, and keeps the line
// that waits for a connection fresh.
(() => {
  "use strict";
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "longOffset" });
  const offset = (date) => zone.formatToParts(date).find((part) => part.type === "timeZoneName")?.value ?? "";
  for (const time of document.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.title = `${full.format(date)} ${offset(date)}`;
    if (time.hasAttribute("data-clock")) time.textContent = clock.format(date);
  }

  document.querySelector("[data-focus]")?.focus();

  // Ten minutes at most, only while somebody looks; each answer is a state and the moment of it, never markup.
  const live = document.querySelector("[data-live]");
  if (live) {
    const words = live.querySelector("[data-words]");
    const until = Date.now() + 10 * 60 * 1000;
    const ask = async () => {
      if (Date.now() > until) return live.classList.add("still");
      if (!document.hidden) {
        try {
          const answer = await fetch(live.dataset.live, { headers: { accept: "application/json" } });
          if (answer.status === 401 || answer.redirected) return live.classList.add("still");
          if (answer.ok) {
            const now = await answer.json();
            const at = now.at ? `, ${clock.format(new Date(now.at))}` : "";
            const text = `${now.text}${at}`;
            if (words.textContent !== text) words.textContent = text;
            live.dataset.state = now.state;
            if (now.state === "connected") return;
          }
        } catch { /* the network is being changed by the VPN itself: ask again */ }
      }
      setTimeout(ask, 2000 + Math.random() * 500);
    };
    ask();
  }
})();
