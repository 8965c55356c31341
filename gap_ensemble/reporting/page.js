// Tables sort, the filter shows rows of one class or fold, and points of the map show their pictures.
"use strict";
const byId = (id) => document.getElementById(id);

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  [...table.tHead.rows[0].cells].forEach((heading, column) => heading.addEventListener("click", () => {
    const down = heading.dataset.order !== "down";
    for (const other of table.tHead.rows[0].cells) delete other.dataset.order;
    heading.dataset.order = down ? "down" : "up";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");  // What has no value stands last.
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
      return down ? -order : order;
    });
    body.append(...rows);
  }));
}

const figures = [...document.querySelectorAll("figure[data-groups]")].map((element) => ({
  element, groups: element.dataset.groups.split("\t"), fold: element.dataset.fold,
  extra: element.classList.contains("extra"),
}));

const points = [];
const map = byId("map");
if (map) {
  const tip = byId("tip");
  for (const point of JSON.parse(byId("points").textContent)) {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    circle.setAttribute("cx", 100 * point.x);
    circle.setAttribute("cy", 60 * point.y);
    circle.setAttribute("r", 0.45);
    circle.setAttribute("fill", "hue" in point ? `hsl(${point.hue} 70% 50%)` : "#bbb");
    if (point.right === false) {
      circle.setAttribute("stroke", "black");
      circle.setAttribute("stroke-width", 0.2);
    }
    circle.addEventListener("mouseenter", (event) => {
      byId("tile").style.backgroundPosition = `-${point.at[0]}px -${point.at[1]}px`;
      tip.querySelector("pre").textContent = point.caption;
      tip.style.left = Math.min(event.clientX + 14, window.innerWidth - 220) + "px";
      tip.style.top = Math.min(event.clientY + 14, window.innerHeight - 160) + "px";
      tip.hidden = false;
    });
    circle.addEventListener("mouseleave", () => { tip.hidden = true; });
    map.append(circle);
    points.push({ element: circle, groups: point.groups ?? [], fold: String(point.fold ?? "") });
  }
}

function options(select, values) {
  for (const value of values) select.add(new Option(value, value));
}
const all = [...figures, ...points];
const inOrder = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
options(byId("group"), inOrder(all.flatMap((item) => item.groups)));
options(byId("fold"), inOrder(all.map((item) => item.fold).filter((fold) => fold && fold !== "0")));

function filter() {
  const [group, fold] = [byId("group").value, byId("fold").value];
  const fits = (item) => (!group || item.groups.includes(group)) && (!fold || item.fold === fold);
  for (const item of figures) item.element.hidden = !fits(item) || (item.extra && !group && !fold);
  for (const item of points) item.element.classList.toggle("dim", !fits(item));
  const shown = figures.filter((item) => !item.element.hidden).length;
  byId("found").textContent = group || fold ? `${shown} pictures, ${points.filter(fits).length} points` : "";
}
byId("group").addEventListener("change", filter);
byId("fold").addEventListener("change", filter);
