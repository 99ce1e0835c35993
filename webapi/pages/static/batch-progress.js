// Follow a batch: move its bar, and show its page again when it is done.
// Without this script the page loads itself again every few seconds.

const PAUSE = 1500; // milliseconds
const LONGEST_PAUSE = 30_000;

const batch = document.getElementById("batch");
const bar = batch.querySelector("progress");
const state = document.getElementById("batch-state");
let pause = PAUSE;

async function follow() {
  try {
    const answer = await fetch(batch.dataset.progress);
    if (answer.redirected || answer.status === 404) return location.reload(); // the session or the batch has ended
    if (answer.ok) {
      const { done, is_working: isWorking, text } = await answer.json();
      if (!isWorking) return location.reload();
      bar.value = done;
      if (state.textContent !== text) state.textContent = text;
      pause = PAUSE;
    } else pause = Math.min(2 * pause, LONGEST_PAUSE);
  } catch {
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
  return setTimeout(follow, pause);
}

setTimeout(follow, PAUSE);
