// A button that saves a chart as an SVG file, with the page's styles inside.
function saveButton(svg, label) {
  const button = create("button", "save", "SVG");
  button.type = "button";
  button.title = "save this chart as SVG";
  button.addEventListener("click", () => {
    const copy = svg.cloneNode(true);
    const names = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "visibility", "display", "font-family", "font-size", "font-weight"];
    const [originals, copies] = [svg, copy].map((root) => [root, ...root.querySelectorAll("*")]);
    originals.forEach((node, at) => {
      const style = getComputedStyle(node);
      for (const name of names) copies[at].style.setProperty(name, style.getPropertyValue(name));
    });
    const { width, height } = svg.viewBox.baseVal;
    const margin = 14; // labels of small values are wider than their room at the left
    copy.setAttribute("viewBox", `${-margin} 0 ${width + margin} ${height}`);
    copy.setAttribute("width", width + margin);
    copy.setAttribute("height", height);
    const link = create("a");
    link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    link.download = `${label.replace(/[^A-Za-z0-9]+/g, "_")}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  return button;
}

// A chart shows the values of one step at a time: of a number of samples, or of a point.

for (const figure of document.querySelectorAll(".chart")) {
  const [svg, readout] = [figure.querySelector("svg"), figure.querySelector("output")];
  const steps = [...svg.querySelectorAll(".step")];
  const horizontally = svg.dataset.nearest === "horizontally"; // how the distance to a step is measured
  figure.querySelector("figcaption").append(saveButton(svg, figure.querySelector("b").textContent));
  if (!steps.length) continue;
  const last = steps.length - 1;
  let at = last;
  const show = (index) => {
    steps[at].classList.remove("here");
    at = Math.max(0, Math.min(last, index));
    steps[at].classList.add("here");
    readout.textContent = steps[at].dataset.text;
  };
  svg.addEventListener("pointermove", (event) => {
    const distance = steps.map((step) => {
      const box = step.querySelector("circle").getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY];
      return horizontally ? Math.abs(x) : Math.hypot(x, y);
    });
    show(distance.indexOf(Math.min(...distance)));
  });
  svg.addEventListener("pointerleave", () => show(horizontally ? last : at));
  svg.addEventListener("keydown", (event) => {
    const index = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (index === undefined) return;
    event.preventDefault();
    show(index);
  });
}
