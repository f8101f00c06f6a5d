// The viewer compares the pictures of one image under one zoom.

const viewer = element("viewer");
if (viewer) startViewer();

function startViewer() {
  const [stage, handle, strip, help] = ["stage", "handle", "strip", "help"].map(element);
  const sides = { left: element("left"), right: element("right") };
  // x and y: the point of the picture in the middle of the view, as fractions of its sides
  const unzoomed = { zoom: 1, x: 0.5, y: 0.5 };
  const { left, right, grid } = data.start;
  const view = { image: -1, left, right, grid, detail: false, sample: 0, wipe: 50, ...unzoomed };
  const mostZoom = 16;
  const entry = () => data.gallery[view.image];
  const picture = (key) => entry().pictures.find((picture) => picture.key === key);
  // the picture of a method shows one of its samples: the chosen one, or the last if it has fewer
  const sampleOf = ({ samples }) => samples[Math.min(view.sample, samples.length - 1)];
  const shownOf = (picture) => (picture.samples ? sampleOf(picture) : picture);
  // samples of the only method, which have pictures of their own
  const numbered = () => entry().pictures.filter(({ key, samples }) => !samples && /^\d+$/.test(key));
  const mostSamples = () => Math.max(numbered().length, ...entry().pictures.map(({ samples }) => samples?.length ?? 1));
  const clamped = (value, low, high) => Math.max(low, Math.min(high, value));

  function setImage(img, picture) {
    const { whole, detail, caption } = shownOf(picture);
    const source = view.detail ? detail : whole;
    if (img.src !== source) img.src = source;
    img.className = picture.pixelated ? "pixelated" : "";
    img.alt = `${caption}${view.detail ? ", detail" : ""}`;
  }

  // Width and height of a picture in CSS pixels at zoom 1.
  function sheetSize() {
    const { detail, shown } = entry();
    return view.detail ? [detail.width, detail.height] : shown;
  }

  // Draw what depends on the image, the sample and whole or detail.
  function drawPictures() {
    const { pictures, shown, detail, width, height } = entry();
    const [w, h] = sheetSize();
    // a downscaled picture is enlarged by less than half, and never beyond the size of the HR image
    const most = Math.min(width, Math.round(1.45 * shown[0]));
    const sizes = { "--w": shown[0], "--h": shown[1], "--most-w": most, "--sheet-w": w, "--sheet-h": h, "--sheet-most": view.detail ? w : most };
    for (const [name, value] of Object.entries(sizes)) {
      viewer.style.setProperty(name, value);
    }
    const focused = strip.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    strip.replaceChildren(...pictures.map((picture) => {
      const figure = create("figure");
      const pane = create("button", "pane");
      const [layer, sheet, img, frame] = [create("span", "layer"), create("span", "sheet"), create("img"), create("span", "frame")];
      pane.type = "button";
      pane.dataset.key = picture.key;
      pane.title = "to the right; with Shift: to the left";
      setImage(img, picture);
      const percent = { left: detail.left / width, top: detail.top / height, width: detail.width / width, height: detail.height / height };
      for (const [side, part] of Object.entries(percent)) frame.style[side] = `${100 * part}%`;
      sheet.append(img, frame);
      layer.append(sheet);
      pane.append(layer);
      const caption = create("figcaption", "", picture.label);
      if (picture.samples) caption.append(create("span", "quiet", ` ${sampleOf(picture).label}`));
      figure.append(pane, caption);
      if (picture.figures) figure.append(create("div", "quiet values", picture.figures));
      if (picture.legend) figure.append(createLegend(picture));
      return figure;
    }));
    strip.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    drawSides();
  }

  // Draw what depends on the choice of the left and the right picture.
  function drawSides() {
    element("steps").hidden = mostSamples() < 2;
    const further = entry().drawn > mostSamples() ? ` shown, ${entry().drawn} drawn` : "";
    element("sample").textContent = `sample ${view.sample + 1} of ${mostSamples()}${further}`;
    for (const side of ["left", "right"]) {
      const chosen = picture(view[side]);
      sides[side].value = view[side];
      setImage(element(`layer-${side}`).querySelector("img"), chosen);
      const caption = element(`caption-${side}`);
      caption.replaceChildren(create("b", "", `${side === "left" ? "◧" : "◨"} ${chosen.label}`), shownOf(chosen).caption);
      if (chosen.legend) caption.append(createLegend(chosen));
      for (const figure of strip.children) {
        figure.classList.toggle(side, figure.querySelector(".pane").dataset.key === view[side]);
      }
    }
    draw();
  }

  // Draw what depends on zoom, position and wipe: one transform for all pictures, relative to their size.
  function draw() {
    const { zoom } = view;
    view.x = clamped(view.x, 0.5 / zoom, 1 - 0.5 / zoom);
    view.y = clamped(view.y, 0.5 / zoom, 1 - 0.5 / zoom);
    const move = [view.x, view.y].map((part) => `${((0.5 - part) * zoom * 100).toFixed(3)}%`);
    viewer.classList.toggle("grid", view.grid); // before anything is measured
    viewer.classList.toggle("detail", view.detail);
    for (const sheet of viewer.querySelectorAll(".sheet")) {
      sheet.style.transform = `translate(${move.join(", ")}) scale(${zoom})`;
    }
    const base = baseSize();
    viewer.classList.toggle("enlarged", (base.width * zoom) / sheetSize()[0] >= 1.5);
    viewer.classList.toggle("zoomed", zoom > 1);
    for (const [name, pressed] of [["wipe", !view.grid], ["grid", view.grid], ["whole", !view.detail], ["detail", view.detail]]) {
      viewer.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", pressed);
    }
    // 100 %: one CSS pixel per pixel of the HR image
    const percent = (100 * base.width * zoom) / (view.detail ? entry().detail.width : entry().width);
    element("zoom").textContent = `${Math.round(percent)} %`;
    drawWipe(base);
  }

  // The size of an unzoomed picture on the page; the grid has no stage.
  function baseSize() {
    const sheet = view.grid ? strip.querySelector(".sheet") : element("layer-left").firstElementChild;
    return { width: sheet.offsetWidth || 1, height: sheet.offsetHeight || 1 };
  }

  // The part of the stage that the wipe covers: the visible part of the picture.
  function wipeRange(base) {
    const width = Math.min(stage.clientWidth, base.width * view.zoom);
    return { start: (stage.clientWidth - width) / 2, width };
  }

  function drawWipe(base = baseSize()) {
    const { start, width } = wipeRange(base);
    const line = start + (width * view.wipe) / 100;
    element("layer-left").style.clipPath = `inset(0 ${stage.clientWidth - line}px 0 0)`;
    handle.style.left = `${line}px`;
    handle.setAttribute("aria-valuenow", Math.round(view.wipe));
    const labels = ["left", "right"].map((side) => picture(view[side]).label);
    handle.setAttribute("aria-valuetext", `${Math.round(view.wipe)} % ${labels[0]}, then ${labels[1]}`);
  }

  // Zoom by a factor around a point of the stage, in fractions of the unzoomed picture from its middle.
  function zoomBy(factor, u = 0, v = 0) {
    const zoom = clamped(view.zoom * factor, 1, mostZoom);
    view.x += u / view.zoom - u / zoom;
    view.y += v / view.zoom - v / zoom;
    view.zoom = zoom;
    draw();
  }

  // Show an image of the gallery. If it lacks the chosen pictures, HR and the first sample replace them.
  function show(index) {
    view.image = index;
    const { name, notes, pictures } = entry();
    const lacks = (key) => !pictures.some((picture) => picture.key === key);
    if (lacks(view.left)) view.left = pictures[0].key;
    if (lacks(view.right)) view.right = pictures[Math.min(1, pictures.length - 1)].key;
    element("name").textContent = name;
    element("count").textContent = `picture ${index + 1} of ${data.gallery.length}`;
    const row = data.images.find((image) => image.pictured === index);
    // the values of several methods are shown below their pictures
    const texts = (row ? data.columns.filter(({ group }) => !group) : []).map(({ key, figure, unit, digits }) => {
      const value = valueOf(row, key);
      return `${figure} ${value === undefined ? "–" : Number.isFinite(value) ? value.toFixed(digits) : "∞"} ${unit}`.trim();
    });
    element("measured").textContent = texts.join("  ·  ");
    element("picture-notes").hidden = !notes.length;
    element("picture-notes").replaceChildren(...notes.map((note) => create("li", "", note)));
    for (const select of Object.values(sides)) {
      select.replaceChildren(...pictures.map(({ key, label }) => new Option(label, key)));
    }
    Object.assign(view, unzoomed, { sample: Math.min(view.sample, mostSamples() - 1) });
    drawPictures();
  }

  function goSample(by) {
    view.sample = (view.sample + by + mostSamples()) % mostSamples();
    const samples = numbered();
    if (samples.some(({ key }) => key === view.right)) view.right = samples[view.sample].key;
    if (flickering && !view.grid) drawSides();
    else drawPictures();
  }

  // Flicker: the right picture shows one sample after the other, so that the eye sees where they differ.
  let flickering = null;
  function flicker(on) {
    clearInterval(flickering);
    flickering = on ? setInterval(() => goSample(1), 400) : null;
    viewer.querySelector("[data-do=flicker]").setAttribute("aria-pressed", on);
    if (!on) drawPictures();
  }

  function go(by) {
    location.hash = `picture-${(view.image + by + data.gallery.length) % data.gallery.length}`;
  }

  function choose(side, key) {
    if (!picture(key)) return;
    view[side] = key;
    const place = numbered().findIndex((picture) => picture.key === key);
    if (side === "right" && place >= 0) view.sample = place;
    drawPictures();
  }

  function fill(on) {
    viewer.classList.toggle("full", on);
    viewer.querySelector("[data-do=full]").setAttribute("aria-pressed", on);
    document.body.style.overflow = on ? "hidden" : "";
    draw();
  }

  const actions = {
    previous: () => go(-1),
    next: () => go(1),
    "sample-previous": () => goSample(-1),
    "sample-next": () => goSample(1),
    flicker: () => flicker(!flickering),
    wipe: () => { view.grid = false; draw(); },
    grid: () => { view.grid = true; draw(); },
    whole: () => { Object.assign(view, unzoomed, { detail: false }); drawPictures(); },
    detail: () => { Object.assign(view, unzoomed, { detail: true }); drawPictures(); },
    in: () => zoomBy(Math.SQRT2),
    out: () => zoomBy(Math.SQRT1_2),
    reset: () => { Object.assign(view, unzoomed); draw(); },
    swap: () => { [view.left, view.right] = [view.right, view.left]; drawSides(); },
    full: () => fill(!viewer.classList.contains("full")),
    help: () => help.showModal(),
  };
  const keys = { n: "next", p: "previous", w: "wipe", g: "grid", "+": "in", "=": "in", "-": "out", r: "reset", a: "flicker", x: "swap", f: "full", "?": "help" };
  const pictureKeys = { l: "lr", h: "hr", d: "deviation", b: "best", m: "lpips", u: "mean", i: "difference" };

  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.do) actions[button.dataset.do]();
    if (button?.dataset.key && !dragged) choose(event.shiftKey ? "left" : "right", button.dataset.key);
  });
  for (const side of ["left", "right"]) sides[side].addEventListener("change", () => choose(side, sides[side].value));

  // Keys act while the focus is in the viewer or nowhere, but not in a menu or a dialog.
  document.addEventListener("keydown", (event) => {
    const focus = document.activeElement;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || focus.tagName === "SELECT") return;
    if (focus !== document.body && !viewer.contains(focus)) return;
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // with Shift, the key of a digit types another sign: on German keyboards "=" for 0
    const shifted = event.shiftKey ? /^Digit(\d)$/.exec(event.code)?.[1] : undefined;
    const digit = /^\d$/.test(event.key) ? event.key : shifted;
    const side = event.shiftKey && event.key !== digit ? "left" : "right";
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (focus === handle && (dx || dy || event.key === "Home" || event.key === "End")) {
      const step = (dx - dy) * (event.shiftKey ? 10 : 2);
      view.wipe = clamped({ Home: 0, End: 100 }[event.key] ?? view.wipe + step, 0, 100);
      drawWipe();
    } else if (focus.matches(".stage, .pane") && (dx || dy)) {
      view.x += (0.1 * dx) / view.zoom;
      view.y += (0.1 * dy) / view.zoom;
      draw();
    } else if (keys[letter] && !(shifted && letter === "=")) actions[keys[letter]]();
    else if (letter === "s" && mostSamples() > 1) goSample(event.shiftKey ? -1 : 1);
    else if (letter === "z") actions[view.detail ? "whole" : "detail"]();
    else if (digit) choose(side, digit);
    else if (pictureKeys[letter]) choose(side, pictureKeys[letter]);
    else if (event.key === "Escape" && viewer.classList.contains("full")) fill(false);
    else return;
    event.preventDefault();
  });

  // Dragging the wipe's line moves it; dragging a picture moves all pictures.
  let drag = null;
  let dragged = false; // whether the pointer moved further than in a click
  viewer.addEventListener("pointerdown", (event) => {
    const pane = event.target.closest(".stage, .pane");
    dragged = false;
    if (event.button || !pane) return;
    drag = { pane, line: event.target === handle, x: event.clientX, y: event.clientY };
    if (drag.line || view.zoom > 1) pane.setPointerCapture(event.pointerId);
  });
  viewer.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (drag.line) {
      const { start, width } = wipeRange(baseSize());
      view.wipe = clamped((100 * (event.clientX - stage.getBoundingClientRect().left - start)) / width, 0, 100);
      drawWipe();
    } else if (dragged || Math.hypot(dx, dy) > 3) {
      const sheet = drag.pane.querySelector(".sheet");
      view.x -= dx / (sheet.offsetWidth * view.zoom);
      view.y -= dy / (sheet.offsetHeight * view.zoom);
      Object.assign(drag, { x: event.clientX, y: event.clientY });
      dragged = view.zoom > 1;
      draw();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, () => { drag = null; });

  // The wheel zooms only once the focus is in the viewer, so that it scrolls the page otherwise.
  viewer.addEventListener("wheel", (event) => {
    const pane = event.target.closest(".stage, .pane");
    if (!pane || !(event.ctrlKey || viewer.contains(document.activeElement))) return;
    event.preventDefault();
    const box = pane.getBoundingClientRect();
    const sheet = pane.querySelector(".sheet");
    const u = (event.clientX - box.left - box.width / 2) / sheet.offsetWidth;
    const v = (event.clientY - box.top - box.height / 2) / sheet.offsetHeight;
    zoomBy(2 ** (-event.deltaY / 300), u, v);
  }, { passive: false });

  // An address that ends in #picture-3 shows that image: links of the table and "back" work.
  function follow() {
    const index = Number(/^#picture-(\d+)$/.exec(location.hash)?.[1]);
    if (!(index < data.gallery.length)) return false;
    if (index !== view.image) show(index);
    return true;
  }
  function reveal() {
    viewer.scrollIntoView({ block: "start" });
    stage.focus({ preventScroll: true });
  }
  body.addEventListener("click", (event) => {
    if (!event.target.closest("a")) return;
    event.preventDefault();
    location.hash = event.target.closest("a").hash;
    follow();
    reveal();
  });
  addEventListener("hashchange", follow);
  addEventListener("resize", () => draw());
  if (follow()) reveal();
  else show(0);
}
