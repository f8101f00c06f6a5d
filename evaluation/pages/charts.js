// Charts tell their values, step by step. A step is one number of samples, or one point.

for (const figure of document.querySelectorAll(".chart")) {
  const [svg, readout] = [figure.querySelector("svg"), figure.querySelector("output")];
  const steps = [...svg.querySelectorAll(".step")];
  const across = svg.dataset.nearest === "across"; // the nearest step from left to right, else in both directions
  if (!steps.length) continue;
  const last = steps.length - 1;
  let at = last;
  const show = (index) => {
    steps[at].classList.remove("here");
    at = Math.max(0, Math.min(last, index));
    steps[at].classList.add("here");
    readout.textContent = steps[at].dataset.says;
  };
  svg.addEventListener("pointermove", (event) => {
    const distance = steps.map((step) => {
      const box = step.querySelector("circle").getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY];
      return across ? Math.abs(x) : Math.hypot(x, y);
    });
    show(distance.indexOf(Math.min(...distance)));
  });
  svg.addEventListener("pointerleave", () => show(across ? last : at));
  svg.addEventListener("keydown", (event) => {
    const index = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (index === undefined) return;
    event.preventDefault();
    show(index);
  });
}
