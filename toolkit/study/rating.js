"use strict";
// The page of a study. A ranking is a list of {index, tie}: the candidate's index on the screen, and whether it has
// the rank of the one before. It is sent with an id made here; until the server has acknowledged it, it stays in
// this browser's storage and is sent again, under the same id, so that nothing is lost and nothing is stored twice.
const $ = (id) => document.getElementById(id);
const setup = JSON.parse($("setup").textContent), texts = JSON.parse($("texts").textContent);
const LETTERS = "ABCDEFGHI", ZOOMS = [1, 2, 3, 4, 6], RETRY_SECONDS = [1, 2, 4, 8, 15], SECONDS_BEFORE_NEXT = 3;
const KEY = `ntire-sr-study-${setup.study}`;

let language = "en", saved = {}, trials = [], answers = {}, at = -1;
let ranking = [], undoable = [], zoom = 0, pan = { x: 0, y: 0 }, shownAt = 0, sending = false, notice = null;
// whether all pictures of the trial are there; device pixels per pixel of a picture without zoom
let ready = false, magnification = 1;

// ---- storage and texts

try { saved = JSON.parse(localStorage.getItem(KEY)) || {}; } catch { saved = {}; }
// cookies, unlike the storage, are shared by all ports of a host: the rater is found again after the server's port changed
if (!("rater" in saved)) saved.rater = document.cookie.match(new RegExp(`(?:^|; )${KEY}=([0-9a-f]{32})`))?.[1] ?? null;
function keep(values) {
  Object.assign(saved, values);
  if ("rater" in values) document.cookie = `${KEY}=${saved.rater ?? ""}; path=/; samesite=lax; max-age=${saved.rater ? 90 * 86400 : 0}`;
  try { localStorage.setItem(KEY, JSON.stringify(saved)); } catch { /* without storage one cannot go on later */ }
}
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
function say(key, values = {}) {
  const text = texts[language][key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
function speak() {
  document.documentElement.lang = language;
  document.title = say("title");
  const values = { places: setup.places, candidates: setup.candidates };
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text, values);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", say(each.dataset.label));
  $("ranking").dataset.empty = say("empty");
  if (!$("trial").hidden) drawTrial(false);
  if (!$("rest").hidden) drawRest($("rest").dataset.kind);
  if (!$("alert").hidden && $("alert").dataset.code) $("alert-text").textContent = say(`error_${$("alert").dataset.code}`);
}
function show(id) {
  for (const each of ["welcome", "trial", "rest"]) $(each).hidden = each !== id;
  $("progress").hidden = id === "welcome";
  if (id === "welcome") $("where").textContent = "";
}
function announce(text) { $("status").textContent = text; }

// ---- the server

class Refusal extends Error { constructor(code, again) { super(code); this.code = code; this.again = again; } }

async function call(path, body) {
  let response, content = {};
  try {
    response = await fetch(path, body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {});
    content = await response.json();
  } catch {
    throw new Refusal("network", true);
  }
  if (!response.ok) throw new Refusal(texts.en[`error_${content.error}`] ? content.error : "network", response.status >= 500);
  return content;
}
// calls until the server answers; what cannot get better by waiting is thrown
async function insist(path, body) {
  for (let turn = 0; ; turn++) {
    try {
      const content = await call(path, body);
      quiet();
      return content;
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      complain(refusal.code, refusal.again);
      if (!refusal.again) throw refusal;
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000 * RETRY_SECONDS[Math.min(turn, RETRY_SECONDS.length - 1)]);
        $("again").onclick = () => { clearTimeout(timer); resolve(); };
      });
    }
  }
}
function complain(code, again) {
  $("alert").dataset.code = code;
  $("alert-text").textContent = say(`error_${code}`);
  $("again").hidden = !again;
  $("alert").hidden = false;
}
function quiet() { $("alert").hidden = true; }

async function load() {
  const state = await insist(`api/raters/${saved.rater}`);
  trials = state.trials;
  answers = state.answers;
}
async function send(pending) {
  try {
    await insist("api/answers", pending);
    answers[pending.trial] = { id: pending.id, ranking: pending.ranking };
  } catch (refusal) {
    // what the server will never take must not keep the rater from going on
    if (!["conflict", "malformed", "unknown"].includes(refusal.code)) throw refusal;
    keep({ pending: null });
    await load();
    complain(refusal.code === "conflict" ? "conflict" : "dropped", false);
  }
  keep({ pending: null });
}

// ---- beginning, pausing, ending

async function begin(event) {
  event.preventDefault();
  const mode = setup.mode === "either" ? document.querySelector("[name=mode]:checked").value : setup.mode;
  const id = saved.starting || newId();
  keep({ starting: id });
  try {
    await insist("api/raters", { id, name: $("name").value, mode, language });
    keep({ rater: id, starting: null });
    await load();
  } catch (refusal) {
    if (refusal.code !== "conflict") return undefined;
    keep({ starting: null }); // stored under another name or mode, but its acknowledgement was lost
    return begin(event);
  }
  return goOn();
}
function goOn() {
  const next = trials.findIndex((trial) => !answers[trial.id]);
  if (next < 0) rest("done");
  else visit(next);
}
function rest(kind) {
  drawRest(kind);
  show("rest");
  drawProgress();
  $("rest-title").focus();
}
function drawRest(kind) {
  $("rest").dataset.kind = kind;
  $("rest-title").textContent = say(kind === "done" ? "done" : "pause");
  $("rest-text").textContent = say(kind === "done" ? "done_text" : "paused");
  $("go-on").hidden = kind === "done";
}
function another() {
  keep({ rater: null, pending: null, starting: null });
  notice = null;
  $("name").value = "";
  show("welcome");
}

// ---- a trial

function visit(index) {
  at = index;
  const trial = trials[at], there = answers[trial.id];
  ranking = [];
  for (const tier of there ? there.ranking : []) tier.forEach((digest, place) => ranking.push({ index: trial.candidates.indexOf(digest), tie: place > 0 }));
  undoable = [];
  zoom = 0;
  pan = { x: 0, y: 0 };
  ready = false;
  show("trial");
  drawTrial(true);
  scrollTo(0, 0);
  $("prompt").focus({ preventScroll: true });
}
const picture = (digest) => `images/${digest}.png`;
const isPair = () => trials[at].candidates.length === 2;
const isComplete = () => ranking.length === trials[at].candidates.length;
// rank of each position of the ranking: equal ones share the better rank
function ranks() {
  const found = [];
  ranking.forEach((each, place) => found.push(each.tie ? found[place - 1] : place + 1));
  return found;
}
function rankOf(index) {
  const place = ranking.findIndex((each) => each.index === index);
  return place < 0 ? null : ranks()[place];
}

function drawProgress() {
  const counted = trials.filter((trial) => !trial.practice), done = counted.filter((trial) => answers[trial.id]).length;
  $("progress").max = counted.length;
  $("progress").value = done;
  const practice = trials.filter((trial) => trial.practice), trial = trials[at];
  const inPractice = !$("trial").hidden && trial && trial.practice;
  $("where").textContent = inPractice
    ? say("practice", { number: practice.indexOf(trial) + 1, count: practice.length })
    : say("progress", { done, count: counted.length });
}
function drawTrial(isNew) {
  const trial = trials[at];
  $("prompt").textContent = say(isPair() ? "prompt_pair" : "prompt");
  $("tie").textContent = say(isPair() ? "tie_pair" : "tie");
  $("note").hidden = !notice;
  if (notice) $("note").textContent = say(notice.key, notice);
  $("reference").hidden = !trial.lr;
  if (trial.lr && isNew) fetchPicture($("lr"), trial.lr);
  if (isNew) {
    $("tiles").replaceChildren(...trial.candidates.map(tile));
    fit();
    checkPictures();
  }
  drawProgress();
  drawRanking();
}
function tile(digest, index) {
  const figure = element("figure", "tile"), button = element("button"), pane = element("span", "pane"), image = element("img");
  button.type = "button";
  fetchPicture(image, digest);
  image.alt = "";
  image.draggable = false;
  pane.append(image);
  button.append(pane);
  const caption = element("figcaption"), letter = element("b"), rank = element("span", "rank");
  letter.textContent = LETTERS[index];
  caption.append(letter, rank);
  figure.append(button, caption);
  button.addEventListener("click", () => { if (!button.dataset.moved) pick(index); delete button.dataset.moved; });
  button.addEventListener("pointerdown", (event) => press(event, index, button));
  caption.addEventListener("pointerdown", (event) => drag(event, index));
  return figure;
}
// loads a picture, and again after a while as long as it fails
function fetchPicture(image, digest) {
  let turn = 0;
  image.onload = checkPictures;
  image.onerror = () => {
    complain("picture", false);
    setTimeout(() => {
      turn += 1;
      if (image.isConnected && image.dataset.digest === digest) image.src = `${picture(digest)}?again=${turn}`;
    }, 1000 * RETRY_SECONDS[Math.min(turn, RETRY_SECONDS.length - 1)]);
  };
  image.dataset.digest = digest;
  image.src = picture(digest);
}
// the pictures of the next trial, while the rater looks at this one
function fetchNext(shown) {
  if (shown === at) for (const digest of trials[at + 1]?.candidates ?? []) new Image().src = picture(digest);
}
// the ranking is locked, and its time does not run, until all pictures are visible
function checkPictures() {
  const images = [...$("tiles").querySelectorAll("img"), ...(trials[at]?.lr ? [$("lr")] : [])];
  const complete = images.every((image) => image.complete && image.naturalWidth > 0);
  $("tiles").setAttribute("aria-busy", !complete);
  if (complete && !ready) {
    ready = true;
    shownAt = performance.now();
    setTimeout(fetchNext, 1000 * SECONDS_BEFORE_NEXT, at);
    if ($("alert").dataset.code === "picture") quiet();
    drawRanking();
  } else if (!complete) announce(say("loading"));
}
// as many columns as fit, and a whole number of device pixels for each pixel of a picture; only a picture that is
// larger than the window is made smaller
function fit() {
  if (!trials[at]) return;
  const count = trials[at].candidates.length, gap = 13, border = 4, most = 400;
  const width = $("trial").clientWidth, narrow = matchMedia("(max-width: 40rem)").matches;
  let columns = narrow ? Math.min(2, count) : count <= 4 ? count : Math.ceil(count / 2), room = 0;
  for (; columns > 0; columns--) {
    room = (width - gap * (columns - 1)) / columns - border;
    magnification = Math.floor((Math.max(Math.min(room, most), Math.min(room, setup.size / devicePixelRatio)) * devicePixelRatio + 0.01) / setup.size);
    if (magnification > 0) break;
  }
  if (magnification < 1) magnification = room * devicePixelRatio / setup.size;
  $("tiles").style.setProperty("--columns", Math.max(1, columns));
  $("tiles").style.setProperty("--side", `${magnification * setup.size / devicePixelRatio}px`);
  drawZoom();
}
function element(name, kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  return made;
}
function drawRanking() {
  const found = ranks();
  [...$("tiles").children].forEach((figure, index) => {
    const rank = rankOf(index), letter = LETTERS[index];
    figure.classList.toggle("ranked", rank !== null);
    figure.querySelector(".rank").textContent = rank === null ? "" : say("rank", { rank });
    const button = figure.querySelector("button");
    button.setAttribute("aria-label", say(rank === null ? "picture_unranked" : "picture_ranked", { letter, rank }));
    button.setAttribute("aria-pressed", rank !== null);
  });
  const items = [];
  ranking.forEach(({ index, tie }, place) => {
    if (place > 0) items.push(between(place, tie));
    const item = element("li"), chip = element("span", "chip");
    chip.textContent = LETTERS[index];
    chip.dataset.place = place;
    chip.setAttribute("aria-label", say("picture_ranked", { letter: LETTERS[index], rank: found[place] }));
    chip.setAttribute("role", "img");
    chip.addEventListener("pointerdown", (event) => drag(event, index));
    item.append(chip);
    items.push(item);
  });
  if (!items.length) {
    const item = element("li", "empty");
    item.textContent = say("empty");
    items.push(item);
  }
  $("ranking").replaceChildren(...items);
  $("undo").disabled = !undoable.length;
  $("tie").disabled = ranking.length < 2 && !isPair();
  $("back").disabled = at <= 0;
  $("next").disabled = !isComplete() || sending || !ready;
}
function between(place, tie) {
  const item = element("li"), button = element("button", "between");
  button.type = "button";
  button.textContent = tie ? "=" : ">";
  const first = LETTERS[ranking[place - 1].index], second = LETTERS[ranking[place].index];
  button.setAttribute("aria-label", say(tie ? "same" : "before", { first, second }));
  button.addEventListener("click", () => {
    change(() => { ranking[place].tie = !ranking[place].tie; });
    $("ranking").querySelectorAll(".between")[place - 1].focus();
  });
  item.append(button);
  return item;
}

// ---- changing the ranking

function change(work) {
  if (sending || !ready) return;
  const wasComplete = isComplete();
  undoable.push(JSON.stringify(ranking));
  work();
  if (ranking.length) ranking[0].tie = false;
  drawRanking();
  if (isComplete() && !wasComplete) {
    announce(say("complete"));
    $("next").focus({ preventScroll: true });
  }
}
function take(index) {
  const place = ranking.findIndex((each) => each.index === index);
  if (place < 0) return;
  if (ranking[place + 1]?.tie && !ranking[place].tie) ranking[place + 1].tie = false;
  ranking.splice(place, 1);
}
function pick(index) {
  const letter = LETTERS[index], place = ranking.findIndex((each) => each.index === index);
  // of a pair the second was placed by itself: who clicks both in order means just that
  if (isPair() && place === 1) return;
  change(() => {
    if (place >= 0) {
      if (isPair()) ranking = [];
      else take(index);
      announce(say("taken", { letter }));
      return;
    }
    if (isPair()) ranking = [{ index, tie: false }, { index: 1 - index, tie: false }];
    else ranking.push({ index, tie: false });
    announce(say("placed", { letter, rank: rankOf(index) }));
  });
}
function tie() {
  if (isPair() && !ranking.length) change(() => { ranking = [{ index: 0, tie: false }, { index: 1, tie: true }]; });
  else if (ranking.length > 1) change(() => { const last = ranking[ranking.length - 1]; last.tie = !last.tie; });
}
function undo() {
  if (!undoable.length || sending || !ready) return;
  ranking = JSON.parse(undoable.pop());
  drawRanking();
}
function back() { if (at > 0 && !sending) { notice = null; visit(at - 1); } }

async function next() {
  if (!isComplete() || sending || !ready) return;
  const trial = trials[at], tiers = [];
  for (const { index, tie: same } of ranking) {
    if (same) tiers[tiers.length - 1].push(trial.candidates[index]);
    else tiers.push([trial.candidates[index]]);
  }
  const there = answers[trial.id], normal = (all) => JSON.stringify(all.map((tier) => [...tier].sort()));
  if (!there || normal(there.ranking) !== normal(tiers)) {
    const pending = { id: newId(), rater: saved.rater, trial: trial.id, ranking: tiers, seconds: (performance.now() - shownAt) / 1000, replaces: there ? there.id : null };
    keep({ pending });
    sending = true;
    drawRanking();
    try {
      await send(pending);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return;
    } finally {
      sending = false;
      drawRanking();
    }
  }
  const practice = trials.filter((each) => each.practice);
  notice = trial.practice ? { key: trial === practice[practice.length - 1] ? "was_practice" : "was_practice_again", letter: LETTERS[trial.candidates.indexOf(trial.practice)] } : null;
  if (at + 1 < trials.length && answers[trials[at + 1].id]) visit(at + 1); // gone back before
  else goOn();
}

// ---- zoom, pan, drag

function drawZoom() {
  const most = (ZOOMS[zoom] - 1) * 50;
  pan = { x: Math.max(-most, Math.min(most, pan.x)), y: Math.max(-most, Math.min(most, pan.y)) };
  const style = $("tiles").style;
  style.setProperty("--zoom", ZOOMS[zoom]);
  style.setProperty("--x", `${pan.x}%`);
  style.setProperty("--y", `${pan.y}%`);
  $("tiles").classList.toggle("zoomed", zoom > 0);
  const shown = `${Number((magnification * ZOOMS[zoom]).toFixed(2))}×`;
  $("zoom").textContent = shown;
  $("zoom").title = say("zoom_title");
  $("zoom").setAttribute("aria-label", say("zoom_is", { zoom: shown }));
  $("zoom-in").disabled = zoom === ZOOMS.length - 1;
  $("zoom-out").disabled = zoom === 0;
}
function zoomBy(steps) {
  const before = ZOOMS[zoom];
  zoom = Math.max(0, Math.min(ZOOMS.length - 1, zoom + steps));
  pan = { x: pan.x * ZOOMS[zoom] / before, y: pan.y * ZOOMS[zoom] / before };
  drawZoom();
}
function moveBy(x, y) { pan = { x: pan.x + x, y: pan.y + y }; drawZoom(); }

// on a picture: pans where it is zoomed, drags it with a mouse where it is not; a press without movement is a click
function press(event, index, button) {
  if (event.button !== 0) return;
  delete button.dataset.moved;
  if (zoom === 0) {
    if (event.pointerType === "mouse") drag(event, index, button);
    return;
  }
  const start = { x: event.clientX, y: event.clientY }, from = { ...pan }, side = button.clientWidth;
  const move = (moved) => {
    if (Math.hypot(moved.clientX - start.x, moved.clientY - start.y) < 5 && !button.dataset.moved) return;
    button.dataset.moved = "yes";
    $("tiles").classList.add("panning");
    pan = { x: from.x + 100 * (moved.clientX - start.x) / side, y: from.y + 100 * (moved.clientY - start.y) / side };
    drawZoom();
  };
  follow(move, () => {
    $("tiles").classList.remove("panning");
    setTimeout(() => delete button.dataset.moved); // behind the click that may follow
  });
}
function follow(move, end) {
  const stop = (event) => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", stop);
    removeEventListener("pointercancel", stop);
    end(event);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", stop);
  addEventListener("pointercancel", stop);
}
function drag(event, index, button) {
  if (event.button !== 0 || sending) return;
  const start = { x: event.clientX, y: event.clientY };
  let ghost = null;
  const move = (moved) => {
    if (!ghost) {
      if (Math.hypot(moved.clientX - start.x, moved.clientY - start.y) < 6) return;
      if (button) button.dataset.moved = "yes";
      ghost = element("span", "chip ghost");
      ghost.textContent = LETTERS[index];
      document.body.append(ghost);
    }
    ghost.style.left = `${moved.clientX}px`;
    ghost.style.top = `${moved.clientY}px`;
    mark(target(moved));
  };
  follow(move, (ended) => {
    mark(null);
    if (button) setTimeout(() => delete button.dataset.moved); // behind the click that may follow
    if (!ghost) return;
    ghost.remove();
    if (ended.type === "pointercancel") return;
    drop(index, target(ended));
  });
}
// where a dragged picture would go: {place, join} or null outside the row
function target(event) {
  const box = $("ranking").getBoundingClientRect(), room = 24;
  if (event.clientX < box.left - room || event.clientX > box.right + room || event.clientY < box.top - room || event.clientY > box.bottom + room) return null;
  const chips = [...$("ranking").querySelectorAll(".chip")];
  for (const [place, chip] of chips.entries()) {
    const each = chip.getBoundingClientRect(), share = (event.clientX - each.left) / each.width;
    if (event.clientY > each.bottom + 4 && place < chips.length - 1) continue; // another line of a full row
    if (share < 0.25) return { place, join: false };
    if (share <= 0.75) return { place, join: true };
  }
  return { place: chips.length, join: false };
}
function mark(found) {
  $("ranking").classList.toggle("over", found !== null);
  const chips = [...$("ranking").querySelectorAll(".chip")];
  for (const chip of chips) chip.classList.remove("join", "left", "right");
  if (!found || !chips.length) return;
  if (found.join) chips[found.place].classList.add("join");
  else if (found.place < chips.length) chips[found.place].classList.add("left");
  else chips[chips.length - 1].classList.add("right");
}
function drop(index, found) {
  const before = ranking.findIndex((each) => each.index === index);
  if (!found && before < 0) return;
  if (found?.join && found.place === before) return;
  change(() => {
    const goal = found && found.place < ranking.length ? ranking[found.place] : null;
    if (!found) return take(index);
    if (goal?.index === index) return undefined;
    take(index);
    const place = goal ? ranking.indexOf(goal) : ranking.length;
    if (found.join) ranking.splice(place + 1, 0, { index, tie: true });
    else {
      // in front of a member of a group: it becomes the group's front, with a rank of its own only at its head
      const inGroup = goal?.tie;
      ranking.splice(place, 0, { index, tie: Boolean(inGroup) });
    }
    if (isPair() && ranking.length === 1) ranking.push({ index: 1 - index, tie: false });
    announce(say("placed", { letter: LETTERS[index], rank: rankOf(index) }));
    return undefined;
  });
}

// ---- keys

function key(event) {
  if ($("trial").hidden || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return undefined;
  // a key that is held down moves, zooms and undoes, but ranks only once
  if (event.repeat && !event.key.startsWith("Arrow") && !["+", "-", "−", "Backspace"].includes(event.key)) return event.preventDefault();
  const letter = LETTERS.indexOf(event.key.toUpperCase());
  const step = 10 * (ZOOMS[zoom] - 1);
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (event.key.length === 1 && letter >= 0 && letter < trials[at].candidates.length) pick(letter);
  else if (event.key === "=") tie();
  else if (event.key === "Backspace") undo();
  else if (event.key === "+") zoomBy(1);
  else if (event.key === "-" || event.key === "−") zoomBy(-1);
  else if (moves[event.key] && zoom > 0) moveBy(...moves[event.key]);
  else if (event.key === "Enter" && !event.target.closest("button, summary")) next();
  else return undefined;
  return event.preventDefault();
}

// ---- start

async function start() {
  if (location.search) window.history.replaceState(null, "", location.pathname); // the token is in a cookie now
  const wanted = [saved.language, ...navigator.languages.map((each) => each.slice(0, 2)), "en"];
  language = wanted.find((each) => each && texts[each]);
  for (const [code, each] of Object.entries(texts)) $("language").add(new Option(each.language, code, false, code === language));
  $("language").addEventListener("change", () => { language = $("language").value; keep({ language }); speak(); });
  $("modes").hidden = setup.mode !== "either";
  document.querySelector("[name=mode][value=full]").checked = true;
  $("begin").addEventListener("submit", begin);
  for (const [id, work] of Object.entries({
    undo, tie, back, next, pause: () => rest("pause"), "go-on": goOn, other: another,
    "zoom-in": () => zoomBy(1), "zoom-out": () => zoomBy(-1),
  })) $(id).addEventListener("click", work);
  document.addEventListener("keydown", key);
  addEventListener("resize", () => { if (!$("trial").hidden) fit(); });
  speak();
  if (!saved.rater) return show("welcome");
  try {
    await load();
    if (saved.pending) await send(saved.pending);
  } catch (refusal) {
    if (refusal.code !== "unknown-rater") return undefined;
    keep({ rater: null, pending: null });
    return show("welcome");
  }
  return goOn();
}
start();
