// Draw the page's charts with Vega, for light or dark paper; drawn again when either changes.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");

function draw() {
  const given = document.getElementById("charts");
  if (!given) return;
  const { specs, paper } = JSON.parse(given.textContent);
  const config = dark.matches ? paper.dark : paper.light;
  const options = { config, renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
  specs.forEach((spec, i) => vegaEmbed(`#chart-${i}`, spec, options));
}

dark.addEventListener("change", draw);
document.addEventListener("milepost:replaced", draw);
draw();
