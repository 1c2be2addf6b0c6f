// Beside the diagram: the verdict, the chosen event, and everybody's state.

const element = (id) => document.getElementById(id);

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value; else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function showVerdict(run, choose) {
  const { violation } = run, verdict = element("verdict");
  document.title = `${violation ? violation.rule : "no rule was violated"}: ${run.title}`;
  verdict.className = violation ? "broken" : "";
  verdict.append(
    node("span", { class: "title" }, run.title),
    node("span", { class: "rule" }, violation ? `✗ ${violation.rule}` : "✓ no rule was violated"),
    violation ? violation.text : "",
  );
  if (run.accused.size) {
    const buttons = [...run.accused].map((call) =>
      node("button", { onclick: () => choose(run.events[call.ended === NONE ? call.called : call.ended]) }, callText(run, call)));
    verdict.append(node("span", { class: "calls" }, ...buttons));
  }
  const figures = element("figures");
  for (const [name, value] of Object.entries({ ...run.figures, time: clockText(run, run.ended, 2) })) {
    figures.append(figures.childNodes.length ? " · " : "", name === "time" ? "" : `${name} `, node("b", {}, String(value)));
  }
  element("command").textContent = run.command;
  element("replay").hidden = !run.command;
  element("copy").onclick = () => navigator.clipboard && navigator.clipboard.writeText(run.command);
}

function callText(run, call) {
  const ending = call.outcome === "done" ? (call.answer ? ` → ${call.answer}` : "") : ` (${call.outcome})`;
  return `${run.processes[call.process].name}: ${call.text}${ending}`;
}

function showChosen(run, view) {
  const event = view.chosen, shown = view.layout.shown;
  const place = lastUpTo(shown, event.number, (number) => number) + 1;
  const parts = [
    node("div", { class: "when" }, node("span", {}, `event ${place} of ${shown.length}`), node("span", {}, clockText(run, event.at))),
    node("div", { class: "what" }, headline(run, event)),
  ];
  const how = event.message ? messageText(run, event) : "";
  if (how) parts.push(node("div", { class: "how" }, how));
  if (event.message && event.text) parts.push(node("div", { class: "how" }, node("b", {}, event.text)));
  if (view.isCausal) parts.push(causalText(run, event));
  element("chosen").replaceChildren(...parts);
}

function headline(run, event) {
  const name = (number) => (number === NONE ? "somebody" : run.processes[number].name);
  if (!event.message) return event.text;
  if (event.kind === "said") return `${name(event.process)} sends ${name(event.message.to)} a ${event.message.kind}`;
  return `${name(event.process)} hears ${name(event.message.from)}'s ${event.message.kind}`;
}

function messageText(run, event) {
  const { message } = event;
  if (message.heard === NONE) return message.isLost ? "lost: it never comes" : "still on its way at the end";
  const took = spanText(run, run.events[message.heard].at - run.events[message.said].at);
  return event.kind === "said" ? `comes ${took} later` : `sent ${took} before`;
}

function causalText(run, event) {
  let past = 0, future = 0, all = 0;
  for (const other of run.events) {
    if (other.process === NONE) continue;
    all++;
    past += isBefore(run, other, event);
    future += isBefore(run, event, other);
  }
  const count = (name, n) => node("span", { style: `color: var(--${name}); font-weight: 700` }, `${n} ${name === "past" ? "before" : "after"}`);
  if (event.process === NONE) return node("div", { class: "how" }, "belongs to no process: nothing is before or after it");
  return node("div", { class: "how" }, count("past", past), " · ", count("future", future), ` · ${all - past - future - 1} concurrent`);
}

function showStates(run, view, chooseProcess) {
  const number = view.chosen.number;
  const cards = run.processes.map((process) => {
    const life = lifeAt(run, process.number, number);
    const found = stateAt(run, process.number, number);
    const isChosen = process.number === view.process;
    const isGone = !life || isOver(life, number);
    const pause = run.pauses.find((each) => each.process === process.number && isDuring(each, number));
    const card = node("div", { class: `card${isChosen ? " is-chosen" : ""}`, onclick: () => chooseProcess(process.number) },
      node("span", { class: "name" }, process.name), chip(process, found, isGone, life), pause ? node("span", { class: "chip paused" }, "stands still") : "",
      " ", node("span", { class: "brief" }, isGone || isChosen ? "" : summary(process, found)));
    if (isChosen && found && !isGone) card.append(details(found, run.events[found.since] && run.events[found.since].at === view.chosen.at));
    return card;
  });
  element("states").replaceChildren(...cards);
  const chosen = element("states").querySelector(".is-chosen");
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
}

function chip(process, found, isGone, life) {
  if (isGone) return life ? node("span", { class: "chip gone" }, life.how || "gone") : node("span", { class: "chip" }, "not yet");
  if (process.kind === "views") return node("span", { class: "chip views" }, "view service");
  const role = process.kind === "server" && found ? found.state.role : process.kind;
  return node("span", { class: `chip ${role}` }, role);
}

function summary(process, found) {
  if (!found) return "";
  const { state } = found;
  if (process.kind === "views") return state.view ? `view ${state.view}: ${state.primary}${state.backups ? ", " + state.backups : ""}${state.acknowledged ? " ✓" : ""}` : "no view yet";
  if (process.kind === "clerk") return `${(state["open calls"] || []).length} open, view ${state.view}`;
  if (process.kind !== "server") return "";
  const parts = [`view ${state.view}`, `commit ${state.commit}`];
  if (state.verified !== undefined) parts.push(`verified ${state.verified}`);
  return parts.join(", ");
}

function details({ state, before }, isFresh) {
  const list = node("dl");
  for (const [key, value] of Object.entries(state)) {
    const text = valueText(value);
    if (text === "" && key !== "backups") continue;
    const isNew = isFresh && valueText(before[key]) !== text;
    list.append(node("dt", {}, key), node("dd", { class: isNew ? "is-new" : "" }, text || "nobody"));
  }
  return list;
}

function valueText(value) {
  if (value === undefined || value === null) return "";
  if (value === true) return "yes";
  if (value === false) return "no";
  return Array.isArray(value) ? value.join(", ") || "none" : String(value);
}
