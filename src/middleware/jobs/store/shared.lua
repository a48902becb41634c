-- The jobs of one account, for all gateways of a namespace.
--
-- ARGV[1] is the operation, ARGV[2] the name of the gateway. KEYS are all keys that the script may use, so a cluster that
-- just moves them refuses to run it on a part of them. A gateway is gone when it is silent for a lease, by the server's
-- clock. It changes only what it owns.
--
-- ABOUT has of each job in the clear: its owner (o), the number of its last change (n), its state (s), its key (k) and its
-- caller (c), both hashed, and how often the server had lost data at its last change (l). States: k a key is reserved for
-- a call, c the call is being sent, e it has ended; of jobs q queued, s sending, d done, f failed, u unknown; x removed.
-- OWNED, LISTED, CLAIMED and NEWS are sorted by text: an owner or a caller, a space, an id.

local ABOUT, RECORDS, REQUESTS, ANSWERS, NAMES, UNTIL, OWNED, LISTED, HEARD, SINCE, CLAIMED, NEWS, COUNTS, SERVER =
  unpack(KEYS)
local op, me = ARGV[1], ARGV[2]
local LEASE = 5000
-- How long a removed job is remembered, so that a late request does not make it again.
local REMEMBERED = 60
local MOST_BYTES = 4 * 1024 * 1024
-- How many jobs one run looks at, so that it does not keep the server from others for long.
local MOST_CLAIMED, MOST_LISTED = 200, 2000
local JOBS = 'qsdfu'
-- In LISTED and COUNTS, the callers together.
local ALL = '*'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Ids after a name in a sorted key, at most `limit` of them unless it is -1.
local function ids_of(key, name, limit)
  local ids = redis.call('ZRANGEBYLEX', key, '[' .. name .. ' ', '(' .. name .. '!', 'LIMIT', 0, limit)
  for at, member in ipairs(ids) do ids[at] = string.sub(member, #name + 2) end
  return ids
end

local function about(id)
  local packed = redis.call('HGET', ABOUT, id)
  return packed and cjson.decode(packed)
end

local function say(id, fields) redis.call('HSET', ABOUT, id, cjson.encode(fields)) end

local function count(job, difference)
  for _, name in ipairs({ job.c, ALL }) do
    local field = name .. ' ' .. job.s
    local sum = tonumber(redis.call('HGET', COUNTS, field) or 0) + difference
    if sum > 0 then redis.call('HSET', COUNTS, field, sum) else redis.call('HDEL', COUNTS, field) end
  end
end

local function remember(id)
  say(id, { o = '-', n = 0, s = 'x' })
  redis.call('ZADD', UNTIL, math.floor(now / 1000) + REMEMBERED, id)
end

local function remove(id, job)
  for _, key in ipairs({ RECORDS, REQUESTS, ANSWERS }) do redis.call('HDEL', key, id) end
  redis.call('ZREM', OWNED, job.o .. ' ' .. id)
  redis.call('ZREM', LISTED, job.c .. ' ' .. id, ALL .. ' ' .. id)
  if job.k and redis.call('HGET', NAMES, job.k) == id then redis.call('HDEL', NAMES, job.k) end
  count(job, -1)
  remember(id)
end

-- `since` is the beginning of the time in which it was never silent for a lease.
local function renew()
  local heard = tonumber(redis.call('ZSCORE', HEARD, me) or 0)
  if now < heard or now - heard > LEASE then redis.call('HSET', SINCE, me, now) end
  redis.call('ZADD', HEARD, now, me)
  redis.call('HSET', SERVER, 'used', now)
end

-- How often the server may have lost what was written last: it started again without a log of all writes, so it has a
-- snapshot. After a failover nothing is lost that counted: the new master ran before the old one was used for the last
-- time.
local function losses()
  local info = redis.call('INFO', 'server')
  local life = string.match(info, '\nrun_id:([^\r\n]*)') or ''
  local before = redis.call('HGET', SERVER, 'life')
  local lost = tonumber(redis.call('HGET', SERVER, 'losses') or 0)
  if life == before then return lost end
  local started = now - 1000 * tonumber(string.match(info, '\nuptime_in_seconds:(%d+)') or 0)
  local used = tonumber(redis.call('HGET', SERVER, 'used') or 0)
  local has_log = string.find(redis.call('INFO', 'persistence'), '\naof_enabled:1', 1, true)
  if before and used < started and not has_log then lost = lost + 1 end
  redis.call('HSET', SERVER, 'life', life, 'losses', lost)
  return lost
end

local function row(id, job)
  return {
    id = id,
    -- The job is not stored yet.
    reserved = job.s == 'k',
    ['until'] = tonumber(redis.call('ZSCORE', UNTIL, id) or 0),
    record = redis.call('HGET', RECORDS, id) or '',
    request = redis.call('HGET', REQUESTS, id) or nil,
  }
end

local function create(id, job, ends)
  redis.call('ZADD', OWNED, 0, me .. ' ' .. id)
  redis.call('ZADD', LISTED, 0, job.c .. ' ' .. id, 0, ALL .. ' ' .. id)
  redis.call('ZADD', UNTIL, ends, id)
end

local function change(lost, id, number, state, ends, caller, record, request, answer)
  local job = about(id)
  if job and job.o ~= me then return 'lost' end
  if job and number < job.n then return 'ok' end
  if state == 'x' then
    if job then remove(id, job) else remember(id) end
    return 'ok'
  end
  if job then
    count(job, -1)
  else
    -- What is not new was lost with the server's data.
    if request == '' then return 'lost' end
    job = { o = me, c = caller }
    create(id, job, ends)
  end
  job.n, job.s, job.l = number, state, lost
  count(job, 1)
  redis.call('HSET', RECORDS, id, record)
  for name, part in pairs({ [REQUESTS] = request, [ANSWERS] = answer }) do
    if part == '-' then redis.call('HDEL', name, id) elseif part ~= '' then redis.call('HSET', name, id, part) end
  end
  say(id, job)
  return 'ok'
end

-- Takes over jobs of a gateway that is gone, and returns how many it has seen.
local function claim_from(owner)
  local ids, bytes = ids_of(OWNED, owner, MOST_CLAIMED), 0
  for _, id in ipairs(ids) do
    local job = about(id)
    if bytes < MOST_BYTES and job then
      -- A reserved key without a call.
      if job.s == 'k' then
        remove(id, job)
      else
        bytes = bytes + redis.call('HSTRLEN', REQUESTS, id)
        redis.call('ZREM', OWNED, owner .. ' ' .. id)
        redis.call('ZADD', OWNED, 0, me .. ' ' .. id)
        redis.call('ZADD', CLAIMED, 0, me .. ' ' .. id)
        job.o, job.n = me, 0
        say(id, job)
      end
    end
  end
  return #ids
end

local function forget(owner)
  redis.call('ZREM', HEARD, owner)
  redis.call('HDEL', SINCE, owner)
  for _, key in ipairs({ CLAIMED, NEWS }) do
    for _, id in ipairs(ids_of(key, owner, -1)) do redis.call('ZREM', key, owner .. ' ' .. id) end
  end
end

-- Takes over jobs of one gateway that is gone. After an outage of the server, all are silent; so only a gateway that was
-- heard for a whole lease since then may say that another one is gone.
local function claim()
  local is_judge = now - tonumber(redis.call('HGET', SINCE, me) or now) >= LEASE
  local owners, has_claimed = redis.call('ZRANGE', HEARD, 0, -1, 'WITHSCORES'), false
  for at = 1, #owners, 2 do
    local owner, heard = owners[at], tonumber(owners[at + 1])
    -- The clock was set back.
    if heard > now then redis.call('ZADD', HEARD, now, owner) end
    if owner ~= me and not has_claimed and (heard == 0 or (is_judge and now - heard > LEASE)) then
      has_claimed = claim_from(owner) > 0
      if not has_claimed then forget(owner) end
    end
  end
end

local function expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTIL, '-inf', '(' .. math.floor(now / 1000), 'LIMIT', 0, 100)) do
    local job = about(id)
    if job and job.s ~= 'x' then
      remove(id, job)
    else
      redis.call('HDEL', ABOUT, id)
      redis.call('ZREM', UNTIL, id)
    end
  end
end

-- What the gateway has to hear of: jobs that it has taken over (rows), and what others did with its own: removed, or asked
-- to become a job. All is said again until the gateway says that it knows.
local function news(lost)
  local said = { rows = {}, removed = {}, asked = {} }
  for _, id in ipairs(ids_of(CLAIMED, me, -1)) do
    local job = about(id)
    if job and job.o == me then
      local claimed = row(id, job)
      -- It may have been sent, and what said so is lost.
      claimed.doubtful = job.l ~= lost
      table.insert(said.rows, claimed)
    else
      redis.call('ZREM', CLAIMED, me .. ' ' .. id)
    end
  end
  for _, text in ipairs(ids_of(NEWS, me, -1)) do
    local kind, id = string.match(text, '(%a+) (.*)')
    table.insert(said[kind], id)
  end
  -- An empty table would become an object.
  for kind, list in pairs(said) do if #list == 0 then said[kind] = nil end end
  return said
end

if op == 'beat' then
  local lost = losses()
  -- First, because a server without free memory allows only removals as the first change of a script.
  expire()
  renew()
  for at = 3, #ARGV do
    redis.call('ZREM', CLAIMED, me .. ' ' .. ARGV[at])
    for _, kind in ipairs({ 'removed', 'asked' }) do redis.call('ZREM', NEWS, me .. ' ' .. kind .. ' ' .. ARGV[at]) end
  end
  if #ids_of(CLAIMED, me, 1) == 0 then claim() end
  local said = news(lost)
  said.since, said.losses = tonumber(redis.call('HGET', SINCE, me)), lost
  return cjson.encode(said)
elseif op == 'owned' then
  return table.concat(ids_of(OWNED, me, -1), ' ')
elseif op == 'leave' then
  redis.call('ZADD', HEARD, 0, me)
  return ''
elseif op == 'reserve' then
  local id, number, ends, caller, record, name = unpack(ARGV, 3)
  local other = redis.call('HGET', NAMES, name)
  if other and other ~= id then return other end
  local job = about(id)
  if job and job.o ~= me then return 'removed' end
  local lost = losses()
  renew()
  if job then count(job, -1) end
  job = { o = me, n = tonumber(number), s = 'k', c = caller, k = name, l = lost }
  create(id, job, ends)
  count(job, 1)
  redis.call('HSET', RECORDS, id, record)
  redis.call('HSET', NAMES, name, id)
  say(id, job)
  return ''
elseif op == 'write' then
  local lost = losses()
  renew()
  local results = {}
  for at = 3, #ARGV, 8 do
    local id, number = ARGV[at], tonumber(ARGV[at + 1])
    results[#results + 1] = change(lost, id, number, unpack(ARGV, at + 2, at + 7))
  end
  return table.concat(results, ' ')
elseif op == 'cancel' then
  local id = ARGV[3]
  local job = about(id)
  if not job or job.s == 'x' then return 'absent' end
  if job.s ~= 'q' then return 'sent' end
  redis.call('ZADD', NEWS, 0, job.o .. ' removed ' .. id)
  remove(id, job)
  return 'ok'
elseif op == 'ask' then
  local job = about(ARGV[3])
  if job and job.s ~= 'x' then redis.call('ZADD', NEWS, 0, job.o .. ' asked ' .. ARGV[3]) end
  return ''
elseif op == 'show' then
  local job = about(ARGV[3])
  if not job or job.s == 'x' then return '' end
  return cjson.encode(row(ARGV[3], job))
elseif op == 'answer' then
  return redis.call('HGET', ANSWERS, ARGV[3]) or ''
elseif op == 'list' then
  local name, after, limit, states = unpack(ARGV, 3)
  if name == '' then name = ALL end
  local from = after == '' and '[' .. name .. ' ' or '(' .. name .. ' ' .. after
  local members = redis.call('ZRANGEBYLEX', LISTED, from, '(' .. name .. '!', 'LIMIT', 0, MOST_LISTED)
  local page, rows = { counts = {} }, {}
  if #members == MOST_LISTED then page.after = string.sub(members[#members], #name + 2) end
  for _, member in ipairs(members) do
    local id = string.sub(member, #name + 2)
    local job = about(id)
    if job and string.find(states, job.s, 1, true) then
      local listed = row(id, job)
      listed.request = nil
      table.insert(rows, listed)
    end
    if #rows == tonumber(limit) then
      page.after = id
      break
    end
  end
  page.rows = #rows > 0 and rows or nil
  for state in string.gmatch(JOBS, '.') do
    page.counts[state] = tonumber(redis.call('HGET', COUNTS, name .. ' ' .. state) or 0)
  end
  return cjson.encode(page)
end
