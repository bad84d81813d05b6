// A caption: lines that are only ever appended to, and never change once the next has begun.
const LONGEST = 90; // characters, after which the next word begins a line
const PAUSE_MS = 2000; // of source audio without words, after which a line ends

export class Captions {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.line = null;
    this.last = 0;
  }

  add(delta, elapsedMs) {
    const ended = this.line && (this.line.textContent.length > LONGEST || elapsedMs - this.last > PAUSE_MS);
    if (!this.line || (ended && /^\s/.test(delta))) this.line = this.append("p", "");
    const text = this.line.textContent ? delta : delta.trimStart();
    this.line.append(text);
    this.last = elapsedMs;
    this.element.scrollTop = this.element.scrollHeight;
  }

  gap(text) {
    this.append("p", text).className = "gap";
    this.line = null;
    this.last = 0;
  }

  append(tag, text) {
    const child = document.createElement(tag);
    child.textContent = text;
    this.element.append(child);
    return child;
  }
}
