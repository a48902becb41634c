-- The jobs of one account, for all gateways of a namespace.
--
-- KEYS[1] is the hash of what is said of each job in the clear: its owner (o), the number of its last change (n), its
-- state (s), its key (k) and its caller (c), both hashed. The names of the other keys begin like it and have the same
-- hash tag, so a cluster keeps them together. ARGV[1] is the operation, ARGV[2] the name of the gateway.
-- States: k a key is reserved, q queued, s sending, e ended, x removed.
-- A gateway changes only what it owns. It is gone when it is silent for a lease, by the server's clock.

local base, op, me = KEYS[1], ARGV[1], ARGV[2]
local RECORDS, REQUESTS, ANSWERS = base .. ':records', base .. ':requests', base .. ':answers'
local NAMES, UNTIL, HEARD, SINCE = base .. ':keys', base .. ':until', base .. ':heard', base .. ':since'
local LEASE = 5000
-- How long a removed job is remembered, so that a late request does not make it again.
local REMEMBERED = 60
local MOST_BYTES = 4 * 1024 * 1024

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function of(owner) return base .. ':of:' .. owner end
local function claims(owner) return base .. ':claims:' .. owner end
local function cancelled(owner) return base .. ':cancelled:' .. owner end
local function by(caller) return base .. ':by:' .. caller end

local function about(id)
  local packed = redis.call('HGET', base, id)
  return packed and cjson.decode(packed)
end

local function say(id, fields) redis.call('HSET', base, id, cjson.encode(fields)) end

local function remember(id)
  say(id, { o = '-', n = 0, s = 'x' })
  redis.call('ZADD', UNTIL, math.floor(now / 1000) + REMEMBERED, id)
end

local function remove(id, job)
  redis.call('HDEL', RECORDS, id)
  redis.call('HDEL', REQUESTS, id)
  redis.call('HDEL', ANSWERS, id)
  redis.call('ZREM', of(job.o), id)
  redis.call('SREM', by(job.c), id)
  if job.k and redis.call('HGET', NAMES, job.k) == id then redis.call('HDEL', NAMES, job.k) end
  remember(id)
end

-- `since` is the beginning of the time in which it was never silent for a lease.
local function renew()
  local heard = tonumber(redis.call('ZSCORE', HEARD, me) or 0)
  if now < heard or now - heard > LEASE then redis.call('HSET', SINCE, me, now) end
  redis.call('ZADD', HEARD, now, me)
end

local function row(id)
  return {
    id = id,
    ['until'] = tonumber(redis.call('ZSCORE', UNTIL, id) or 0),
    record = redis.call('HGET', RECORDS, id) or '',
    request = redis.call('HGET', REQUESTS, id) or nil,
  }
end

local function create(id, job, ends)
  redis.call('ZADD', of(me), 0, id)
  redis.call('SADD', by(job.c), id)
  redis.call('ZADD', UNTIL, ends, id)
end

local function change(id, number, state, ends, caller, record, request, answer)
  local job = about(id)
  if job and job.o ~= me then return 'lost' end
  if job and number < job.n then return 'ok' end
  if state == 'x' then
    if job then remove(id, job) else remember(id) end
    return 'ok'
  end
  if not job then
    -- What is not new was lost with the server's data.
    if request == '' then return 'lost' end
    job = { o = me, c = caller }
    create(id, job, ends)
  end
  job.n, job.s = number, state
  redis.call('HSET', RECORDS, id, record)
  for name, part in pairs({ [REQUESTS] = request, [ANSWERS] = answer }) do
    if part == '-' then redis.call('HDEL', name, id) elseif part ~= '' then redis.call('HSET', name, id, part) end
  end
  say(id, job)
  return 'ok'
end

-- Takes over jobs of one gateway that is gone. After an outage of the server, all are silent; so only a gateway that was
-- heard for a whole lease since then may say that another one is gone.
local function claim()
  local is_judge = now - tonumber(redis.call('HGET', SINCE, me) or now) >= LEASE
  local owners, claimed = redis.call('ZRANGE', HEARD, 0, -1, 'WITHSCORES'), 0
  for at = 1, #owners, 2 do
    local owner, heard = owners[at], tonumber(owners[at + 1])
    -- The clock was set back.
    if heard > now then redis.call('ZADD', HEARD, now, owner) end
    if owner ~= me and claimed == 0 and (heard == 0 or (is_judge and now - heard > LEASE)) then
      local ids = redis.call('ZRANGE', of(owner), 0, 199)
      local bytes = 0
      for _, id in ipairs(ids) do
        local job = about(id)
        if bytes < MOST_BYTES and job then
          claimed = claimed + 1
          -- A reserved key without a call.
          if job.s == 'k' then
            remove(id, job)
          else
            bytes = bytes + redis.call('HSTRLEN', REQUESTS, id)
            redis.call('ZREM', of(owner), id)
            redis.call('ZADD', of(me), 0, id)
            redis.call('SADD', claims(me), id)
            job.o, job.n = me, 0
            say(id, job)
          end
        end
      end
      if #ids == 0 then
        redis.call('ZREM', HEARD, owner)
        redis.call('HDEL', SINCE, owner)
        redis.call('DEL', claims(owner), cancelled(owner))
      end
    end
  end
end

if op == 'beat' then
  renew()
  -- What it has got; an answer that was lost comes again.
  for at = 3, #ARGV do redis.call('SREM', claims(me), ARGV[at]) end
  if redis.call('SCARD', claims(me)) == 0 then claim() end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTIL, '-inf', '(' .. math.floor(now / 1000), 'LIMIT', 0, 100)) do
    local job = about(id)
    if job and job.s ~= 'x' then
      remove(id, job)
    else
      redis.call('HDEL', base, id)
      redis.call('ZREM', UNTIL, id)
    end
  end
  local rows = {}
  for _, id in ipairs(redis.call('SMEMBERS', claims(me))) do rows[#rows + 1] = row(id) end
  local gone = redis.call('SMEMBERS', cancelled(me))
  redis.call('DEL', cancelled(me))
  return cjson.encode({ rows = #rows > 0 and rows or nil, cancelled = #gone > 0 and gone or nil, now = now })
elseif op == 'leave' then
  redis.call('ZADD', HEARD, 0, me)
  return ''
elseif op == 'reserve' then
  local id, number, ends, caller, record, name = unpack(ARGV, 3)
  local other = redis.call('HGET', NAMES, name)
  if other and other ~= id then return other end
  local job = about(id)
  if job and job.o ~= me then return 'removed' end
  renew()
  job = { o = me, n = tonumber(number), s = 'k', c = caller, k = name }
  create(id, job, ends)
  redis.call('HSET', RECORDS, id, record)
  redis.call('HSET', NAMES, name, id)
  say(id, job)
  return ''
elseif op == 'write' then
  renew()
  local results = {}
  for at = 3, #ARGV, 8 do
    local id, number = ARGV[at], tonumber(ARGV[at + 1])
    results[#results + 1] = change(id, number, unpack(ARGV, at + 2, at + 7))
  end
  return table.concat(results, ' ')
elseif op == 'cancel' then
  local id = ARGV[3]
  local job = about(id)
  if not job or job.s == 'x' then return 'absent' end
  if job.s ~= 'q' then return 'sent' end
  redis.call('SADD', cancelled(job.o), id)
  remove(id, job)
  return 'ok'
elseif op == 'show' then
  local job = about(ARGV[3])
  if not job or job.s == 'x' then return '' end
  return cjson.encode(row(ARGV[3]))
elseif op == 'answer' then
  return redis.call('HGET', ANSWERS, ARGV[3]) or ''
elseif op == 'list' then
  local rows = {}
  for _, id in ipairs(redis.call('SMEMBERS', by(ARGV[3]))) do
    local job = about(id)
    if job and job.o ~= me then
      local shown = row(id)
      shown.request = nil
      rows[#rows + 1] = shown
    end
  end
  return #rows > 0 and cjson.encode(rows) or '[]'
end
