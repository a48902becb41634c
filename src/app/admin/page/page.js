// The live page: follows /events and shows each event. Nothing here keeps state but the filter and the connection.

import { element, list, part, set, still, countdown, tickAll, write } from '/parts.js';
import { condition, count, moment, reason, span } from '/words.js';

const $ = (id) => document.getElementById(id);
const RECONNECT = 2000;

/** The events come each second; without one for so long, the stream is lost although no error says so. */
const SILENCE = 10000;

let stream = null;
let lastEvent = 0;
/** By how much the gateway's clock is ahead of this one. */
let ahead = 0;

/** The moment on this machine's clock that is so many seconds from now. */
const after = (seconds) => Date.now() + seconds * 1000;

// === The connection ===

function connect() {
  stream?.close();
  const query = new URLSearchParams();
  if (!$('active').checked) query.set('all', '');
  if ($('search').value.trim()) query.set('search', $('search').value.trim());
  stream = new EventSource(`/events?${query}`);
  lastEvent = Date.now();
  stream.onmessage = (message) => {
    lastEvent = Date.now();
    connected(true);
    show(JSON.parse(message.data));
  };
  stream.onerror = lost;
}

function lost() {
  stream?.close();
  stream = null;
  connected(false);
  setTimeout(() => stream ?? connect(), RECONNECT);
}

function connected(live) {
  document.body.classList.toggle('lost', !live);
  set($('connection'), 'data-state', live ? 'live' : 'lost');
  write($('connection'), live ? 'Live' : 'Connection lost. Reconnecting…');
}

// === One event ===

function show(status) {
  ahead = Date.parse(status.at) - Date.now();
  const { gateway, buckets, accounts } = status;
  write($('process'), `${gateway.version} on ${gateway.name}, up for ${span(gateway.started_seconds_ago)}`);
  const several = accounts.length > 1;
  summary(status, several);
  windows(status, several);
  list($('accounts'), accounts, (one) => one.account, newAccount, account);
  $('shared-section').hidden = status.shared.length === 0;
  list($('shared'), members(status.shared), (one) => one.key, newMember, member);
  jobs(status.jobs);
  lastLock(status.last_lock, several);
  list($('refusals'), status.refusals, (one) => one.request_id + one.problem, newRefusal, refusal);
  $('no-refusals').hidden = status.refusals.length > 0;
}

/** What is paused in a few words: `route people.lms.*, until {time} ({left})`. */
function paused(one) {
  const parts = ['caller', 'account', 'route'].filter((name) => one[name] !== null).map((name) => `${name} ${one[name]}`);
  return `${parts.join(', ')}, ${one.for_seconds === null ? 'until they resume it' : 'until {time} ({left})'}`;
}

/** The waiting calls in a few words: `1 call of course-sync waits`. */
function whoWaits(one) {
  const callers = one.callers.slice(0, 3).map((caller) => `${caller.waiting} of ${caller.caller}`).join(', ');
  const verb = one.waiting === 1 ? 'waits' : 'wait';
  return one.callers.length === 1 && one.callers[0].waiting === one.waiting
    ? `${count(one.waiting, 'call')} of ${one.callers[0].caller} ${verb}`
    : `${count(one.waiting, 'call')} ${verb}${callers ? ` (${callers}${one.callers.length > 3 ? ', …' : ''})` : ''}`;
}

const nameOf = (one, several) => several ? `${one.route} of ${one.account}` : one.route;

function summary(status, several) {
  const alerts = [];
  const locked = status.buckets.filter((one) => one.lock);
  const waiting = status.buckets.filter((one) => one.waiting > 0 && !one.lock);
  const rejected = status.accounts.filter((one) => ['rejected', 'failing'].includes(one.token.condition));
  if (status.gateway.draining) alerts.push(['warn', `The gateway drains: new calls are refused, ${count(status.gateway.in_flight, 'request')} in flight.`]);
  for (const one of status.paused) alerts.push(['warn', `Operators have paused ${paused(one)}`, one.for_seconds === null ? undefined : after(one.for_seconds)]);
  if (status.state.startsWith('state-unavailable')) alerts.push(['bad', `No call is sent: ${status.state}`]);
  for (const one of rejected) alerts.push(['bad', `The login ${one.account} does not work: ${one.token.problem ?? one.token.last_error?.detail ?? ''}`]);
  for (const one of locked) {
    const waits = one.waiting > 0 ? `; ${whoWaits(one)}` : '';
    alerts.push(['bad', `${nameOf(one, several)} is locked until {time} ({left}): ${one.lock.explanation}${waits}`, after(one.lock.ends_in_seconds)]);
  }
  for (const one of waiting.slice(0, 5)) {
    const why = one.next_call ? `${reason(one.next_call.waits_for)}; the next one goes at {time} ({left})` : 'their turn comes';
    alerts.push(['warn', `${count(one.waiting, 'call')} of ${nameOf(one, several)} wait${one.waiting === 1 ? 's' : ''}: ${why}`,
      after(one.next_call?.in_seconds ?? 0)]);
  }
  for (const [name, words] of Object.entries(status.checks)) {
    const shown = ['listener', 'state'].includes(name) || name.startsWith('account ');
    if (!shown && words !== 'ok') alerts.push(['warn', `${name}: ${words}`]);
  }
  const parts = [
    rejected.length > 0 ? `${count(rejected.length, 'login')} without a token` : null,
    locked.length > 0 ? `${count(locked.length, 'route')} locked` : null,
    status.waiting > 0 ? `${count(status.waiting, 'call')} waiting` : null,
    !status.ready ? 'not ready' : null,
  ].filter(Boolean);
  const bad = alerts.some(([mark]) => mark === 'bad');
  set($('summary'), 'data-mark', bad ? 'bad' : parts.length > 0 ? 'warn' : 'good');
  write($('headline'), parts.length > 0 ? parts.join(', ') : 'Healthy: no call waits, no route is locked');
  list($('alerts'), alerts, (alert) => alert[1], () => element('li'), (node, [mark, text, end]) => {
    set(node, 'data-mark', mark);
    if (end) countdown(node, text, end);
    else still(node, text);
  });
}

// === Windows ===

function windows(status, several) {
  const { buckets, matching, windows: all } = status;
  const searched = $('search').value.trim() !== '';
  write($('count'), matching === 0 ? '' : buckets.length < matching
    ? `${buckets.length} of ${count(matching, 'window')} shown, the busiest first; search to narrow`
    : `${count(matching, 'window')}${matching < all ? ` of ${all}` : ''}`);
  $('no-buckets').hidden = matching > 0;
  write($('no-buckets'), all === 0 ? 'No call was made yet. A window appears with the first call of its route.'
    : searched ? 'No window matches the search.' : 'No window is in use now. Untick “only active” to see all.');
  list($('buckets'), buckets, (one) => `${one.account} ${one.route}`, newBucket, (node, one) => bucket(node, one, several));
}

function newBucket(one) {
  return element('li', { class: 'card' },
    element('div', { class: 'head' },
      element('h3', { class: 'name' }, one.route),
      element('span', { class: 'account quiet' }),
      element('span', { class: 'state' })),
    element('meter', { class: 'meter', min: 0, 'aria-label': `Used slots of ${one.route}` }),
    element('p', { class: 'use' }, element('span', { class: 'used' }), ' ', element('span', { class: 'next quiet' })),
    element('p', { class: 'lock' }),
    element('p', { class: 'daily quiet' }),
    element('table', { class: 'queue' },
      element('caption', {}, 'Who waits'),
      element('thead', {}, element('tr', {}, ...['Caller', 'Calls', 'Waiting for', 'First goes', 'Last goes'].map((title) => element('th', { scope: 'col' }, title)))),
      element('tbody')),
    element('p', { class: 'booked quiet' }));
}

function bucket(node, one, several) {
  const { threshold, lock, daily } = one;
  const full = threshold.used >= threshold.requests;
  const mark = lock ? 'bad' : one.waiting > 0 || full ? 'warn' : 'good';
  set(node, 'data-mark', mark);
  write(part(node, 'account'), several ? one.account : '');
  write(part(node, 'state'), lock ? 'locked' : one.waiting > 0 ? `${one.waiting} waiting` : full ? 'full' : 'free');
  const meter = part(node, 'meter');
  set(meter, 'max', threshold.requests);
  // During a lock no slot can be used; the bar keeps what we had sent.
  const used = lock?.used ?? threshold.used;
  set(meter, 'value', Math.min(used, threshold.requests));
  write(part(node, 'used'), `${used} of ${threshold.requests} used in ${span(threshold.window_seconds)}`);
  optional(part(node, 'next'), threshold.next_slot_in_seconds, 'next slot free at {time} ({left})');
  const locked = part(node, 'lock');
  locked.hidden = !lock;
  if (lock) countdown(locked, `Locked until {time} ({left}). ${lock.explanation}.`, after(lock.ends_in_seconds));
  write(part(node, 'daily'), daily ? `${daily.used} of ${daily.requests} of the daily limit used` : '');
  queue(part(node, 'queue'), one);
  const booked = one.bookings.map((turn) => `${count(turn.booked, 'turn')} kept for ${turn.caller}, the first in ${span(turn.first_in_seconds)}`);
  write(part(node, 'booked'), booked.join('; '));
}

function queue(table, one) {
  table.hidden = one.waiting === 0;
  const shown = one.callers.reduce((sum, caller) => sum + caller.waiting, 0);
  const rest = one.waiting - shown;
  const rows = rest > 0 ? [...one.callers, { caller: 'others, and calls that go again', waiting: rest }] : one.callers;
  list(table.tBodies[0], rows, (row) => row.caller, () => element('tr', {}, element('th', { scope: 'row' }), ...Array.from({ length: 4 }, () => element('td'))),
    (node, row) => {
      const [caller, calls, waited, first, last] = node.children;
      write(caller, row.caller);
      write(calls, String(row.waiting));
      write(waited, row.waited_seconds === undefined ? '' : span(row.waited_seconds));
      optional(first, row.first_in_seconds, 'in {left}', 'later');
      optional(last, row.last_in_seconds, 'in {left}', 'later');
    });
}

/** A countdown if the span is known, otherwise these words. */
function optional(node, seconds, text, otherwise = '') {
  if (seconds === null || seconds === undefined) still(node, otherwise);
  else countdown(node, text, after(seconds));
}

// === Logins ===

function newAccount(one) {
  return element('li', { class: 'card' },
    element('div', { class: 'head' }, element('h3', { class: 'name' }, one.account), element('span', { class: 'account quiet' }, one.data_center), element('span', { class: 'state' })),
    element('meter', { class: 'meter', min: 0, 'aria-label': `Used token requests of ${one.account}` }),
    element('p', { class: 'use' }, element('span', { class: 'used' }), ' ', element('span', { class: 'next quiet' })),
    element('p', { class: 'lock' }),
    element('p', { class: 'life quiet' }));
}

function account(node, { token }) {
  const [mark, words] = condition(token);
  const { requests } = token;
  set(node, 'data-mark', mark);
  write(part(node, 'state'), words);
  const meter = part(node, 'meter');
  set(meter, 'max', requests.requests);
  set(meter, 'value', requests.used);
  write(part(node, 'used'), `${requests.used} of ${requests.requests} token requests used in ${span(requests.window_seconds)}`);
  optional(part(node, 'next'), requests.next_slot_in_seconds, 'next free at {time} ({left})');
  const trouble = part(node, 'lock');
  const problem = token.problem ?? (token.last_error ? `${token.last_error.problem}: ${token.last_error.detail}` : null);
  trouble.hidden = !problem;
  const since = token.rejected_seconds_ago === null ? '' : `Since ${moment(Date.now() - token.rejected_seconds_ago * 1000)}. `;
  write(trouble, problem ? since + problem : '');
  const age = token.granted_seconds_ago === null ? '' : `The token is ${span(token.granted_seconds_ago)} old and expires at {time} ({left}).`;
  const retry = token.next_request_in_seconds === null ? '' : ' The next request goes at {time} ({left}).';
  optional(part(node, 'life'), token.expires_in_seconds ?? token.next_request_in_seconds, age || retry.trim());
}

// === Gateways ===

function members(shared) {
  return shared.flatMap((ledger) => ledger.record
    ? ledger.record.members.map((one) => ({ ...one, account: ledger.account, key: `${ledger.account} ${one.id}` }))
    : [{ key: ledger.account, account: ledger.account, gateway: ledger.own.gateway, this: true, state: 'record not read',
      trouble: ledger.record_missing, silent_seconds: 0, holds: ledger.own.holds, waiting: [] }]);
}

function newMember(one) {
  return element('li', { class: 'card' },
    element('div', { class: 'head' }, element('h3', { class: 'name' }, one.gateway), element('span', { class: 'account quiet' }, one.this ? `${one.account}, this gateway` : one.account), element('span', { class: 'state' })),
    element('p', { class: 'use' }), element('p', { class: 'lock' }));
}

function member(node, one) {
  const marks = { live: 'good', silent: 'warn', gone: 'bad', left: 'calm' };
  set(node, 'data-mark', marks[one.state] ?? 'warn');
  write(part(node, 'state'), one.state === 'live' ? 'live' : `${one.state}, for ${span(one.silent_seconds)}`);
  const held = one.holds.reduce((sum, limit) => sum + limit.held, 0);
  const used = one.holds.reduce((sum, limit) => sum + limit.in_use, 0);
  const waiting = one.waiting.reduce((sum, calls) => sum + calls.calls, 0);
  write(part(node, 'use'), `Holds ${count(held, 'slot')} of ${count(one.holds.length, 'limit')}, ${used} in use; ${count(waiting, 'call')} waiting.`);
  const trouble = part(node, 'lock');
  trouble.hidden = !(one.trouble || one.gone_in_seconds);
  if (one.gone_in_seconds) countdown(trouble, 'Counts as gone at {time} ({left}), unless it speaks before.', after(one.gone_in_seconds));
  else still(trouble, one.trouble ?? '');
}

// === Jobs, the last lock, refusals ===

function jobs(jobs) {
  const states = Object.entries(jobs?.states ?? {}).filter(([, number]) => number > 0);
  $('jobs-section').hidden = states.length === 0 && !jobs?.failure;
  const items = jobs?.failure ? [...states, ['failure', jobs.failure]] : states;
  list($('jobs'), items, ([state]) => state, () => element('li'), (node, [state, number]) => write(node, `${state}: ${number}`));
}

function lastLock(lock, several) {
  const place = $('last-lock');
  const items = lock ? [lock] : [];
  place.className = lock ? '' : 'empty';
  if (!lock) return write(place, 'Zoho has locked no route since the start.');
  if (!place.firstElementChild) write(place, '');
  list(place, items, (one) => `${one.account} ${one.route}`, () => element('div', { class: 'card' },
    element('h3', { class: 'name' }), element('p', { class: 'use' }), element('p', { class: 'calls' })),
  (node, one) => {
    write(part(node, 'name'), nameOf(one, several));
    write(part(node, 'use'), `At ${moment(Date.now() - one.seconds_ago * 1000)} (${span(one.seconds_ago)} ago), for ${span(one.lasts_seconds)}: ${one.explanation}.`);
    const calls = one.by_caller.map((caller) => `${caller.calls} of ${caller.caller}`).join(', ');
    write(part(node, 'calls'), calls ? `Our own calls in the ${span(one.window_seconds)} before: ${calls}.` : 'We had sent no call in the window before.');
  });
}

function newRefusal() {
  return element('li', {}, element('span', { class: 'time quiet' }), element('span', { class: 'problem' }), element('span', { class: 'what' }), element('span', { class: 'detail quiet' }));
}

function refusal(node, one) {
  write(part(node, 'time'), moment(Date.now() + ahead - one.seconds_ago * 1000));
  write(part(node, 'problem'), `${one.status} ${one.problem}`);
  write(part(node, 'what'), [one.caller, one.method, one.route ?? one.account].filter(Boolean).join(' · '));
  write(part(node, 'detail'), one.detail);
}

// === Start ===

$('filter').addEventListener('submit', (event) => event.preventDefault());
$('active').addEventListener('change', connect);
let typing = 0;
$('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(connect, 200);
});
setInterval(() => {
  tickAll();
  if (stream && Date.now() - lastEvent > SILENCE) lost();
}, 1000);
connect();
