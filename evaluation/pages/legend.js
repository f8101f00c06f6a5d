// The legend of a map: a bar for sequential colours, swatches for samples.
function createLegend(picture) {
  const block = create("span", "legend");
  if (picture.legend.samples) {
    const swatches = create("span", "swatches");
    for (const { label, colour, share } of picture.legend.samples) {
      const entry = create("span");
      const swatch = create("i");
      swatch.style.background = colour;
      entry.title = `sample ${label}: ${share} of the area`;
      entry.append(swatch, label, create("small", "", `: ${share}`));
      swatches.append(entry);
    }
    block.append("sample", swatches);
  } else {
    const [bar, ends] = [create("span", "bar"), create("span", "ends")];
    bar.style.background = `linear-gradient(to right, ${picture.legend.colours.join(", ")})`;
    ends.append(create("span", "", picture.legend.low), create("span", "", picture.legend.high));
    block.append(bar, ends);
  }
  return block;
}
