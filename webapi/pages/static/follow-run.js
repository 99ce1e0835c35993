// Shows how far a run is: reads the page again until the run has ended.
import { showTimes } from "./local-times.js";

const SECONDS = 3;

async function refresh() {
  const shown = document.querySelector("#run");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("#run");
      if (fresh) {
        shown.replaceWith(document.adoptNode(fresh));
        showTimes(fresh);
      }
    }
  } catch {
    // The network is away for a moment: try again.
  }
  if (!document.querySelector("#run[data-finished]")) {
    setTimeout(refresh, SECONDS * 1000);
  }
}

setTimeout(refresh, SECONDS * 1000);
