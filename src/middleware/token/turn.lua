-- The token requests of one account, one gateway at a time, and the outcome of the last one for all.
--
-- KEYS[1] is the record, ARGV[1] the request as JSON; the result is the reply as JSON (`turns.rs` has both shapes).
-- The server's clock decides how long things last. If it is set wrong, that costs a token request at most, because the
-- shared ledger counts those.

-- Far longer than anything in a record lasts.
local KEPT = 24 * 60 * 60 * 1000

local request = cjson.decode(ARGV[1])
local packed = redis.call('GET', KEYS[1])
local record = packed and cjson.decode(packed) or { failures = 0 }
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function lasting(span, fields)
  fields.from, fields.span = now, span
  return fields
end

-- How long it lasts still. After the clock was set back, nothing lasts longer than it was meant to.
local function left(fields)
  if not fields or now < fields.from then return 0 end
  return math.max(0, fields.from + fields.span - now)
end

local function save()
  redis.call('SET', KEYS[1], cjson.encode(record), 'PX', KEPT)
end

local is_mine = record.turn and record.turn.name == request.turn

if request.op == 'next' then
  local outcome, pause = record.outcome, record.pause
  if left(outcome) > 0 and outcome.sealed ~= request.seen then
    return cjson.encode({ status = 'kept', sealed = outcome.sealed, left = left(outcome) })
  end
  if left(record.turn) > 0 and not is_mine then return cjson.encode({ status = 'busy' }) end
  -- A gateway without a token does not wait for a pause that was meant for gateways with one.
  if left(pause) > 0 and (request.has_token or not pause.had_token) then
    return cjson.encode({ status = 'paused', left = left(pause), throttled = pause.throttled, reason = pause.reason })
  end
  record.turn = lasting(request.span, { name = request.turn })
  save()
  return cjson.encode({ status = 'yours', failures = record.failures })
end

-- A gateway whose turn is over changes nothing.
if not is_mine then return cjson.encode({ status = 'over' }) end
if request.op == 'extend' then
  record.turn = lasting(request.span, record.turn)
else
  record.turn, record.pause = nil, nil
  local ending = request.ending or {}
  if ending.outcome then
    record.outcome, record.failures = lasting(ending.outcome.span, { sealed = ending.outcome.sealed }), 0
  elseif ending.pause then
    record.pause, record.failures = lasting(ending.pause.span, ending.pause), ending.pause.failures
  end
end
save()
return cjson.encode({ status = 'ok' })
