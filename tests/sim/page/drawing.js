// The diagram: draws what `view` says, and tells what lies where.

class Drawing extends Sheet {
  constructor(canvas, run, view) {
    super(canvas);
    Object.assign(this, { run, view });
    this.bands = run.processes.map((process) => bandsOf(run, process));
    this.resize();
  }

  resize() {
    this.fill();
    this.rows = rowsOf(this.run, AXIS + STRIP, this.height - AXIS - STRIP - 15);
  }

  x(number) {
    return GUTTER + (this.view.layout.places[number] - this.view.scroll) * this.view.zoom;
  }

  y(event) {
    return event.process === NONE ? AXIS + STRIP / 2 : this.rows[event.process].y;
  }

  isInSight(from, to) {
    return to >= GUTTER - 20 && from <= this.width + 20;
  }

  // The end of a span that may not have ended.
  endX(ended) {
    return ended === NONE ? GUTTER + (this.view.layout.end - this.view.scroll) * this.view.zoom : this.x(ended);
  }

  // What has nothing to do with the chosen event is dim, if that is asked for.
  tone(event) {
    const { isCausal, chosen } = this.view;
    if (!isCausal || !event) return "plain";
    if (event.number === chosen.number) return "chosen";
    if (isBefore(this.run, event, chosen)) return "past";
    return isBefore(this.run, chosen, event) ? "future" : "dim";
  }

  toneColour(tone, plain) {
    return tone === "past" || tone === "future" ? this.colours[tone] : plain;
  }

  draw() {
    const { view } = this;
    this.clear();
    this.bars = [];
    this.drawAxis();
    this.drawRows();
    this.drawFaults();
    this.drawBands();
    this.drawMessages();
    this.drawCalls();
    this.drawEvents();
    this.drawStrip();
    this.drawChosen(view.chosen);
    this.drawNames();
  }

  drawAxis() {
    const { run, view, colours } = this;
    const { shown, rests } = view.layout;
    let last = -Infinity, lastText = "";
    for (let n = this.firstShown(); n < shown.length; n++) {
      const x = this.x(shown[n]);
      if (x > this.width) break;
      const event = run.events[shown[n]];
      if (rests.has(n)) {
        const before = this.x(shown[n - 1]);
        if (x - before > 14) {
          // A rest, pressed together.
          const passed = spanText(run, event.at - run.events[shown[n - 1]].at);
          this.context.fillStyle = colours.sheet;
          this.context.fillRect(before + 3, AXIS, x - before - 6, this.height);
          if (x - before > 44 && before > last) this.text(passed, (before + x) / 2, this.height - 7, { colour: colours.soft, size: 10.5, align: "center" });
        }
      }
      const text = clockText(run, event.at, view.zoom > 60 ? 4 : 3);
      if (x - last > 84 && x >= GUTTER && text !== lastText) {
        this.line([[x, AXIS - 5], [x, this.height]], colours.line, 0.6);
        if (Math.abs(x + 26 - this.x(view.chosen.number)) > 80) this.text(text, x + 3, AXIS / 2, { colour: colours.soft });
        last = x;
        lastText = text;
      }
    }
    this.line([[0, AXIS], [this.width, AXIS]], colours.line);
  }

  firstShown() {
    const { shown, places } = this.view.layout;
    return Math.max(0, lastUpTo(shown, this.view.scroll - 20 / this.view.zoom, (number) => places[number]));
  }

  drawRows() {
    this.rows.forEach((row, n) => {
      if (n) this.line([[0, row.top], [this.width, row.top]], this.colours.line, 0.6);
      const life = this.run.lives.some((each) => each.process === n);
      if (!life) this.text("never started", GUTTER + 10, row.y, { colour: this.colours.soft });
    });
  }

  // What cannot be sent, as a hatched strip on the sender's row.
  drawFaults() {
    const { colours } = this;
    const used = this.rows.map(() => []);
    for (const fault of this.groupedFaults()) {
      const from = this.x(fault.began), to = this.endX(fault.ended);
      if (!this.isInSight(from, to)) continue;
      const row = this.rows[fault.from];
      let lane = used[fault.from].findIndex((end) => end <= from);
      if (lane < 0) lane = used[fault.from].length;
      used[fault.from][lane] = to;
      const y = row.top + row.height - 9 - 11 * Math.min(lane, 3);
      const colour = fault.kind === "cut" ? colours.fault : colours.doubt;
      if (fault.kind === "cut") this.hatched(from, y, to - from, 6, colour);
      else this.line([[from, y + 3], [to, y + 3]], colour, 3, [2, 4]);
      this.line([[from, y - 2], [from, y + 8]], colour, 1.5);
      this.line([[to, y - 2], [to, y + 8]], colour, 1.5);
      const text = `${fault.kind === "cut" ? "cut off from" : "slow to"} ${fault.to}`;
      const width = this.textWidth(text, 11, 600);
      const x = Math.max(from, GUTTER) + 4;
      if (to - x > width && this.takes(x, y + 3, width)) {
        this.context.fillStyle = colours.paper;
        this.context.fillRect(x - 2, y - 4, width + 5, 14);
        this.text(text, x, y + 3, { colour, size: 11, weight: 600 });
      }
    }
  }

  // Those from one process that begin and end together are one.
  groupedFaults() {
    if (this.grouped) return this.grouped;
    const { run } = this, found = new Map();
    const atOf = (number) => (number === NONE ? NONE : run.events[number].at);
    for (const fault of run.faults) {
      const [from, to] = fault.where;
      const key = [fault.kind, from, atOf(fault.began), atOf(fault.ended)].join();
      const name = run.processes[to] ? run.processes[to].name : "?";
      if (found.has(key)) found.get(key).to += ` ${name}`;
      else found.set(key, { ...fault, from, to: name });
    }
    return (this.grouped = [...found.values()].filter((each) => each.from !== undefined));
  }

  drawBands() {
    const { run, view, colours, context } = this;
    context.globalAlpha = view.isCausal ? 0.4 : 1;
    for (const life of run.lives) {
      const row = this.rows[life.process];
      const from = this.x(life.began), to = this.endX(life.ended);
      if (!this.isInSight(from, to)) continue;
      this.line([[from, row.y], [to, row.y]], colours.idle, 1.6);
    }
    this.bands.forEach((bands, process) => bands.forEach((band) => this.drawBand(this.rows[process], band)));
    for (const pause of run.pauses) {
      const row = this.rows[pause.process], from = this.x(pause.began), to = this.endX(pause.ended);
      if (!this.isInSight(from, to)) continue;
      context.globalAlpha = 1;
      context.fillStyle = colours.paper;
      context.fillRect(from, row.y - 7, to - from, 14);
      context.globalAlpha = view.isCausal ? 0.6 : 1;
      this.line([[from, row.y], [to, row.y]], colours.fault, 2, [3, 5]);
      for (const x of [from, to]) this.line([[x, row.y - 8], [x, row.y + 8]], colours.fault, 2);
      const x = Math.max(from, GUTTER) + 5;
      const y = row.y + (run.processes[pause.process].kind === "clerk" ? -10 : 13);
      if (to - x > 66 && this.takes(x, y, 66)) this.text("stands still", x, y, { colour: colours.fault, size: 11, weight: 600 });
    }
    context.globalAlpha = 1;
  }

  drawBand(row, band) {
    const from = this.x(band.began), to = this.endX(band.ended);
    if (!this.isInSight(from, to)) return;
    const colour = this.colours[band.colour];
    if (band.isHollow) {
      this.line([[from, row.y - 3], [to, row.y - 3]], colour, 1.6);
      this.line([[from, row.y + 3], [to, row.y + 3]], colour, 1.6);
    } else this.line([[from, row.y], [to, row.y]], colour, band.thick);
    this.line([[from, row.y - 8], [from, row.y + 8]], colour, 2);
    const x = Math.max(from + 4, GUTTER + 6), room = to - x;
    const text = [band.text, band.brief].find((each) => this.textWidth(each, 12, 700) < room);
    if (text && this.takes(x, row.y - 15, this.textWidth(text, 12, 700), 14)) this.text(text, x, row.y - 15, { colour, size: 12, weight: 700 });
  }

  drawMessages() {
    const { view } = this;
    const chosen = view.chosen.message, hovered = view.hovered && view.hovered.message;
    const seen = new Set();
    for (const message of this.run.messages) {
      if (view.isFiltered && message.isRoutine) continue;
      if (view.zoom < 3) {
        // From afar, arrows that cannot be told apart are drawn once.
        const place = [message.from, message.to, Math.round(this.x(message.said)), message.isLost].join();
        if (seen.has(place)) continue;
        seen.add(place);
      }
      if (message !== chosen && message !== hovered) this.drawMessage(message, false);
    }
    for (const message of [hovered, chosen]) if (message) this.drawMessage(message, true);
  }

  // Where a message's arrow begins and ends.
  arrow(message) {
    const from = [this.x(message.said), this.rows[message.from].y];
    const row = this.rows[message.to];
    if (!row) return null;
    if (message.heard !== NONE) return [from, [this.x(message.heard), row.y]];
    // One that never came ends before the line that it was to reach.
    const short = Math.min(26, Math.abs(row.y - from[1]) / 2);
    return [from, [from[0] + 36, row.y - Math.sign(row.y - from[1]) * short]];
  }

  drawMessage(message, isStressed) {
    const { run, colours, context } = this;
    const ends = this.arrow(message);
    if (!ends || !this.isInSight(ends[0][0], ends[1][0])) return;
    const said = run.events[message.said], heard = message.heard === NONE ? null : run.events[message.heard];
    let tone = this.tone(said);
    if (tone === "past" || tone === "chosen") tone = heard ? this.tone(heard) : "dim";
    if (tone === "chosen") tone = "past";
    const colour = message.isLost ? colours.fault : this.toneColour(tone, colours["say-" + (FAMILIES[message.kind] || "other")]);
    const distant = Math.max(0.25, Math.min(1, this.view.zoom / 8));
    context.globalAlpha = isStressed ? 1 : tone === "dim" ? 0.13 : message.isLost ? 1 : distant * (message.isRoutine ? 0.5 : 1);
    const isLate = heard && run.unit === "us" && heard.at - said.at > 5 * IN_FULL_US;
    const width = isStressed ? 3 : tone === "past" || tone === "future" ? 2 : message.isRoutine ? 0.8 : 1.4;
    this.line(ends, colour, width, isLate ? [7, 4] : heard || message.isLost ? [] : [2, 3]);
    if (heard) this.drawHead(ends, colour, isStressed ? 9 : 6.5);
    else if (message.isLost) this.drawCross(ends[1][0], ends[1][1], colours.fault, 5);
    this.drawMessageText(said, ends, colour, isStressed, tone);
    context.globalAlpha = 1;
  }

  drawMessageText(said, [[x0, y0], [x1, y1]], colour, isStressed, tone) {
    const { context } = this, text = brief(said);
    const width = this.textWidth(text, 11, 600), length = Math.hypot(x1 - x0, y1 - y0);
    if (tone === "dim" || (!isStressed && (this.view.zoom < 9 || length < width + 34))) return;
    const x = (x0 + x1) / 2, y = (y0 + y1) / 2;
    const angle = Math.atan2(y1 - y0, x1 - x0);
    const reach = [Math.abs(Math.cos(angle)) * width + 12, Math.abs(Math.sin(angle)) * width + 10];
    if (!isStressed && !this.takes(x - reach[0] / 2, y, reach[0], reach[1])) return;
    context.save();
    context.translate(x, y);
    context.rotate(angle);
    context.fillStyle = this.colours.paper;
    context.globalAlpha *= 0.88;
    context.fillRect(-width / 2 - 3, -7, width + 6, 14);
    context.globalAlpha = 1;
    this.text(text, 0, 0, { colour, size: 11, weight: 600, align: "center" });
    context.restore();
  }

  drawCalls() {
    for (const call of this.run.calls) {
      const from = this.x(call.called), to = Math.max(this.endX(call.ended), from + 3);
      if (!this.isInSight(from, to)) continue;
      const row = this.rows[call.process];
      const room = row.top + row.height - row.y - 10, lane = Math.min(16, room / Math.max(1, row.lanes));
      this.bars.push({ call, from, to, y: row.y + 9 + call.lane * lane, height: Math.max(3, lane - 2) });
    }
    for (const bar of this.bars) {
      this.drawBar(bar);
      this.labels.push([bar.from, bar.y, bar.to, bar.y + bar.height]);
    }
    for (const bar of this.bars) this.drawBarText(bar);
    this.context.globalAlpha = 1;
  }

  barAlpha({ called, ended }) {
    const isDim = (number) => number === NONE || this.tone(this.run.events[number]) === "dim";
    return this.view.isCausal && isDim(called) && isDim(ended) ? 0.2 : 1;
  }

  drawBar({ call, from, to, y, height }) {
    const { colours, context } = this;
    const fills = { done: colours.done, "in doubt": colours.doubt, open: colours.paper };
    const isAccused = this.run.accused.has(call), isOpen = call.outcome === "open";
    context.globalAlpha = this.barAlpha(call);
    context.fillStyle = fills[call.outcome] || colours.refused;
    context.fillRect(from, y, to - from, height);
    if (call.outcome === "in doubt") this.hatched(from, y, to - from, height, colours.paper);
    if (!isOpen && !isAccused) return;
    context.strokeStyle = isAccused ? colours.fault : colours.soft;
    context.lineWidth = isAccused ? 3 : 1;
    context.setLineDash(isOpen ? [4, 3] : []);
    context.strokeRect(from, y, to - from, height);
    context.setLineDash([]);
  }

  // In the bar, or behind it if there is room.
  drawBarText({ call, from, to, y, height }) {
    if (height < 9) return;
    const { colours, context } = this, isAccused = this.run.accused.has(call);
    const style = { size: 11, weight: isAccused ? 700 : 400, colour: isAccused ? colours.fault : colours.ink };
    const ending = call.answer ? ` → ${call.answer}` : call.outcome === "done" ? "" : ` (${call.outcome})`;
    const width = this.textWidth(call.text + ending, 11, style.weight);
    const shortWidth = this.textWidth(call.text, 11, style.weight);
    const x = Math.max(from, GUTTER) + 4, room = Math.min(to, this.width) - x - 3, middle = y + height / 2 + 0.5;
    context.globalAlpha = this.barAlpha(call);
    if (width < room) this.text(call.text + ending, x, middle, style);
    else if (to > GUTTER && this.takes(to + 5, middle, width, height - 2)) this.text(call.text + ending, to + 5, middle, style);
    else if (shortWidth < room) this.text(call.text, x, middle, style);
  }

  drawEvents() {
    const { run, view, width } = this;
    const { shown } = view.layout;
    const lastCommit = run.processes.map(() => -Infinity);
    for (let n = this.firstShown(); n < shown.length; n++) {
      const event = run.events[shown[n]], x = this.x(event.number);
      if (x > width + 20) break;
      if (event.process !== NONE) this.drawEvent(event, x, lastCommit);
    }
    this.context.globalAlpha = 1;
  }

  drawEvent(event, x, lastCommit) {
    const { context, colours } = this, y = this.y(event), tone = this.tone(event);
    context.globalAlpha = tone === "dim" ? 0.25 : 1;
    const colour = this.toneColour(tone, colours.ink);
    const dot = (radius, fill) => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.fill();
    };
    if (event.kind === "ended") this.drawCross(x, y, colours.fault, 8, 3.4);
    else if (event.kind === "began") {
      dot(6, colour);
      dot(3.2, colours.paper);
    } else if (event.kind === "commit") this.drawCommit(event, x, y, colour, lastCommit);
    else if (event.kind === "violated") this.drawStar(x, y);
    else if (event.kind === "view" || event.kind === "role" || event.kind === "acknowledged") {
      dot(5, colour);
      dot(3, event.kind === "acknowledged" ? colours.views : colours.paper);
    } else if (event.kind !== "called" && event.kind !== "answered") dot(Math.max(0.9, Math.min(2.6, this.view.zoom / 3)), colour);
    else if (tone === "past" || tone === "future") dot(3.4, colour);
  }

  drawCommit(event, x, y, colour, lastCommit) {
    const { context, colours } = this, size = Math.max(2.5, Math.min(6, this.view.zoom));
    context.beginPath();
    for (const [dx, dy] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) context.lineTo(x + dx * size, y + dy * size);
    context.closePath();
    context.fillStyle = colour;
    context.fill();
    context.strokeStyle = colours.paper;
    context.lineWidth = 1;
    context.stroke();
    const text = event.text.split(" ").pop(), width = this.textWidth(text, 11, 600);
    if (x - width / 2 > lastCommit[event.process] + 4) {
      this.text(text, x, y + 14, { colour: this.toneColour(this.tone(event), colours.ink), size: 11, weight: 600, align: "center" });
      lastCommit[event.process] = x + width / 2;
    }
  }

  drawStar(x, y) {
    const { context, colours } = this;
    context.beginPath();
    for (let n = 0; n < 16; n++) {
      const radius = n % 2 ? 6 : 13, angle = (n * Math.PI) / 8;
      context.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    context.closePath();
    context.fillStyle = colours.fault;
    context.fill();
    this.text("!", x, y + 0.5, { colour: colours.on, size: 13, weight: 700, align: "center" });
  }

  // What befalls the network, and what is remarked, above all lines.
  drawStrip() {
    const { run, view, colours, context } = this;
    const { shown } = view.layout, y = AXIS + STRIP / 2;
    this.line([[0, AXIS + STRIP], [this.width, AXIS + STRIP]], colours.line);
    const notes = [];
    for (let n = this.firstShown(); n < shown.length; n++) {
      const event = run.events[shown[n]], x = this.x(event.number);
      if (x > this.width + 20) break;
      if (event.process !== NONE) continue;
      if (event.kind === "violated") {
        this.drawStar(x, y);
        continue;
      }
      const isMended = event.kind === "mended";
      context.beginPath();
      for (const [dx, dy] of [[-5, -4], [5, -4], [0, 5]]) context.lineTo(x + dx, y + dy);
      context.closePath();
      context.strokeStyle = context.fillStyle = isMended ? colours.soft : colours.fault;
      context.lineWidth = 1.3;
      if (isMended) context.stroke(); else context.fill();
      if (event.kind === "broken") this.drawBreak(event, x);
      if (event.kind === "note" && x > GUTTER - 12) notes.push([event.text, x + 8]);
    }
    notes.forEach(([text, x], n) => {
      const next = n + 1 < notes.length ? notes[n + 1][1] - 16 : this.width;
      const short = this.fitting(text.replace(/^fault /, ""), Math.min(next - x, 260));
      if (short.length < 6) return;
      const width = this.textWidth(short, 11.5, 600);
      context.fillStyle = colours.paper;
      context.fillRect(x - 2, y - 8, width + 4, 16);
      this.text(short, x, y + 0.5, { colour: colours.fault, size: 11.5, weight: 600 });
    });
  }

  drawBreak(event, x) {
    const [one, other] = event.where.map((process) => this.rows[process]);
    if (!one || !other) return;
    this.line([[x, one.y], [x, other.y]], this.colours.fault, 1.2, [2, 4]);
    for (const { y } of [one, other]) this.line([[x - 5, y - 9], [x + 3, y - 2], [x - 3, y + 2], [x + 5, y + 9]], this.colours.fault, 2.4);
  }

  drawChosen(event) {
    const { context, colours } = this, x = this.x(event.number), y = this.y(event);
    this.line([[x, AXIS], [x, this.height]], colours.choice, 1.2, [1, 3]);
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.strokeStyle = colours.choice;
    context.lineWidth = 2.4;
    context.stroke();
    const text = clockText(this.run, event.at), width = this.textWidth(text, 12, 700);
    const left = Math.min(Math.max(x - width / 2 - 6, GUTTER), this.width - width - 12);
    context.fillStyle = colours.choice;
    context.fillRect(left, 1, width + 12, AXIS - 3);
    this.text(text, left + 6, AXIS / 2 + 0.5, { colour: colours.paper, size: 12, weight: 700 });
  }

  drawNames() {
    const { run, view, colours, context } = this;
    context.fillStyle = colours.sheet;
    context.fillRect(0, 0, GUTTER - 4, this.height);
    this.line([[GUTTER - 4, 0], [GUTTER - 4, this.height]], colours.line);
    this.text("network", 10, AXIS + STRIP / 2, { colour: colours.soft, size: 12 });
    run.processes.forEach((process, n) => {
      const row = this.rows[n], found = stateAt(run, n, view.chosen.number);
      if (n === view.process) {
        context.fillStyle = colours.choice;
        context.fillRect(0, row.top + 3, 4, row.height - 6);
      }
      const life = lifeAt(run, n, view.chosen.number);
      const isGone = !life || isOver(life, view.chosen.number);
      const role = process.kind === "server" && found && !isGone ? found.state.role : "";
      const size = process.name.length > 7 ? 12 : 15;
      this.text(process.name, 10, row.y - (row.height > 34 && process.kind !== "clerk" ? 8 : 0), { size, weight: 700, colour: isGone ? colours.soft : colours.ink });
      if (row.height <= 34 || process.kind === "clerk") return;
      if (role) this.text(role, 10, row.y + 9, { size: 12, weight: 600, colour: colours[role] || colours.soft });
      else this.text(isGone ? "not running" : process.kind === "views" ? "decides" : "", 10, row.y + 9, { size: 11.5, colour: colours.soft });
    });
  }

  // -- what lies where --------------------------------------------------------

  eventAt(x, y) {
    const { run, view } = this;
    let best = null, nearest = 10;
    for (let n = this.firstShown(); n < view.layout.shown.length; n++) {
      const event = run.events[view.layout.shown[n]], at = this.x(event.number);
      if (at > x + 12) break;
      if (event.kind === "called" || event.kind === "answered") continue;
      const distance = Math.hypot(at - x, this.y(event) - y);
      if (distance < nearest) [best, nearest] = [event, distance];
    }
    if (best) return best;
    const bar = this.bars.find((each) => x >= each.from - 2 && x <= each.to + 2 && y >= each.y && y <= each.y + each.height);
    if (bar) return run.events[bar.call.ended !== NONE && x > (bar.from + bar.to) / 2 ? bar.call.ended : bar.call.called];
    return this.messageAt(x, y);
  }

  messageAt(x, y) {
    const { run, view } = this;
    let best = null, nearest = 6;
    for (const message of run.messages) {
      if (view.isFiltered && message.isRoutine) continue;
      const ends = this.arrow(message);
      if (!ends || x < ends[0][0] - 6 || x > ends[1][0] + 6) continue;
      const distance = distanceTo(x, y, ends);
      if (distance < nearest) [best, nearest] = [message, distance];
    }
    if (!best) return null;
    const [[x0], [x1]] = this.arrow(best);
    return run.events[best.heard !== NONE && x > (x0 + x1) / 2 ? best.heard : best.said];
  }
}
