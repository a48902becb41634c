// The parts of the page: elements that are updated in place, so that focus, scrolling and screen readers stay where they
// are. All data becomes text, never markup.

import { moment, span } from '/words.js';

/** An element with attributes and children; texts become text nodes. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(node, key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets an attribute if it changes; `null` removes it. */
export function set(node, key, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(key);
  else if (node.getAttribute(key) !== String(value)) node.setAttribute(key, value === true ? '' : value);
}

/** Sets the text if it changes, so that a live region speaks only then. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes the children of `parent` those of `items`: `create` makes one, `update` fills it. The key keeps it. */
export function list(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const id = String(key(item));
    let node = old.get(id);
    old.delete(id);
    if (!node) {
      node = create(item);
      node.dataset.key = id;
    }
    update(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

/** A child by its class. */
export function part(node, name) {
  return node.querySelector(`:scope .${name}`);
}

/** Says when `node` counts down to, and how: `{time}` and `{left}` are replaced each second. */
export function countdown(node, text, end) {
  node.dataset.text = text;
  node.dataset.end = end;
  tick(node);
}

/** Ends the countdown of `node` with this text. */
export function still(node, text) {
  delete node.dataset.end;
  write(node, text);
}

/** Counts all countdowns on. */
export function tickAll() {
  for (const node of document.querySelectorAll('[data-end]')) tick(node);
}

function tick(node) {
  const end = Number(node.dataset.end);
  const left = Math.max(0, (end - Date.now()) / 1000);
  write(node, node.dataset.text.replace('{time}', moment(end)).replace('{left}', span(left)));
}
