// A chart shows the values of one step at a time: of a number of samples, or of a point.

for (const figure of document.querySelectorAll(".chart")) {
  const [svg, readout] = [figure.querySelector("svg"), figure.querySelector("output")];
  const steps = [...svg.querySelectorAll(".step")];
  const horizontally = svg.dataset.nearest === "horizontally"; // how the distance to a step is measured
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
