// A sheet to draw on: lines, texts and marks, and which places are taken.

const GUTTER = 84, AXIS = 22, STRIP = 24, FONT = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
const THICK = { primary: 9, backup: 6, idle: 2.5 };

class Sheet {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.recolour();
  }

  recolour() {
    const style = getComputedStyle(document.documentElement);
    this.colours = new Proxy({}, { get: (seen, name) => (seen[name] ??= style.getPropertyValue("--" + name).trim()) });
  }

  // Be as large as the canvas is shown.
  fill() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  clear() {
    const { context, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.colours.paper;
    context.fillRect(0, 0, this.width, this.height);
    this.labels = [];
  }

  text(text, x, y, { colour = this.colours.ink, size = 11.5, weight = 400, align = "left" } = {}) {
    const { context } = this;
    context.font = `${weight} ${size}px ${FONT}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  textWidth(text, size = 11.5, weight = 400) {
    this.context.font = `${weight} ${size}px ${FONT}`;
    return this.context.measureText(text).width;
  }

  // The beginning of a text that is no wider than that.
  fitting(text, width) {
    let fits = text;
    while (fits && this.textWidth(fits + (fits === text ? "" : "…"), 11.5, 600) > width) fits = fits.slice(0, -1);
    return fits === text ? text : fits + "…";
  }

  line(points, colour, width = 1, dash = []) {
    const { context } = this;
    context.beginPath();
    points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }

  hatched(x, y, width, height, colour, step = 6) {
    const { context } = this;
    const from = Math.max(x, GUTTER - 10), to = Math.min(x + width, this.width + 10);
    if (to <= from) return;
    context.save();
    context.beginPath();
    context.rect(from, y, to - from, height);
    context.clip();
    context.beginPath();
    for (let at = Math.floor((from - height) / step) * step; at < to; at += step) {
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.stroke();
    context.restore();
  }

  // Is there room for a label?  If so, it is taken.
  takes(x, y, width, height = 12) {
    const box = [x - 2, y - height / 2, x + width + 2, y + height / 2];
    if (this.labels.some((each) => each[0] < box[2] && box[0] < each[2] && each[1] < box[3] && box[1] < each[3])) return false;
    this.labels.push(box);
    return true;
  }

  drawHead([[x0, y0], [x1, y1]], colour, size) {
    const { context } = this, angle = Math.atan2(y1 - y0, x1 - x0);
    context.beginPath();
    context.moveTo(x1, y1);
    for (const turn of [-0.4, 0.4]) context.lineTo(x1 - size * Math.cos(angle + turn), y1 - size * Math.sin(angle + turn));
    context.fillStyle = colour;
    context.fill();
  }

  drawCross(x, y, colour, size, width = 2.4) {
    this.line([[x - size, y - size], [x + size, y + size]], colour, width);
    this.line([[x - size, y + size], [x + size, y - size]], colour, width);
  }
}

function distanceTo(x, y, [[x0, y0], [x1, y1]]) {
  const dx = x1 - x0, dy = y1 - y0;
  const along = Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}
