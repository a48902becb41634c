// Moments, spans and reasons as a person reads them, in the words of `zoho-gateway status`.

/** A span in its two largest units: `4 min 12 s`. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const units = [[Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'], [whole % 60, 's']];
  const largest = units.findIndex(([count]) => count > 0);
  if (largest < 0) return '0 s';
  const shown = units.slice(largest, largest + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ');
}

/** A moment in UTC: `08:30:00Z`, with the date if it is another day than today. */
export function moment(milliseconds) {
  const text = new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
  return text.slice(0, 10) === new Date().toISOString().slice(0, 10) ? text.slice(11) : text;
}

/** A number with its noun. */
export function count(number, noun) {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

/** What the first waiting call waits for. */
export function reason(waitsFor) {
  return {
    'state': 'the state cannot be used',
    'lock': 'Zoho has locked the route',
    'daily-limit': 'the daily limit is used up',
    'answer': 'the threshold is used up until an answer comes',
    'slot': 'the threshold is used up',
  }[waitsFor] ?? waitsFor;
}

/** The mark and the words of a token's condition. */
export function condition(token) {
  return {
    'valid': token.problem ? ['warn', 'valid, with a problem'] : ['good', 'valid'],
    'unused': ['calm', 'not needed yet'],
    'expired': ['calm', 'expired; the next call renews it'],
    'failing': ['bad', 'no token; the gateway tries again'],
    'rejected': ['bad', 'rejected by Zoho: no call can be sent'],
  }[token.condition] ?? ['warn', token.condition];
}
