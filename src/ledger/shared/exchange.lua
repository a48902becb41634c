-- The shared ledger: one request of one gateway (a "member") on the record of one account.
--
-- KEYS[1] is the record, ARGV[1] the request as JSON, ARGV[2] the channel of the namespace; the result is the reply as
-- JSON (`message.rs` has all shapes).
-- All times are spans in milliseconds. Nothing changes unless every check passes, and the only write is the last
-- command, because a script that fails half-way undoes nothing. docs/shared-ledger.md says why each rule is there.

local request = cjson.decode(ARGV[1])

local function field(section, name)
  return string.match(redis.call('INFO', section), '\n' .. name .. ':([^\r\n]*)') or ''
end

-- The life of the server's data: another one after a restart, and after a failover.
local life = field('server', 'run_id') .. '/' .. field('replication', 'master_replid')
local packed = redis.call('GET', KEYS[1])
local record = packed and cmsgpack.unpack(packed)
if record and record.life ~= life then record = nil end

local function answer(status, reply)
  reply = reply or {}
  reply.status, reply.life, reply.number = status, life, request.number
  reply.epoch = record and record.epoch or nil
  return cjson.encode(reply)
end

local function publish(message)
  message.record, message.epoch = KEYS[1], record.epoch
  redis.call('PUBLISH', ARGV[2], cjson.encode(message))
end

local function save()
  redis.call('SET', KEYS[1], cmsgpack.pack(record))
end

-- === Checks ===

if field('replication', 'role') ~= 'master' then return answer('not-master') end
if request.op == 'look' then return answer('ok') end
if request.life ~= life then return answer('other-life') end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

if request.op == 'begin' then
  -- A member that has been with another server since makes an end of the epoch that it left there.
  if not record or request.replaces == record.epoch then
    -- A name that never comes again, whatever the member's random number is.
    local commands = field('stats', 'total_commands_processed')
    local epoch = request.candidate .. '-' .. time[1] .. '.' .. time[2] .. '-' .. commands
    record = { life = life, epoch = epoch, age = 0, gone_after = request.gone_after, fresh = request.fresh,
      members = {}, limits = {}, locks = {} }
    save()
  end
  return answer('ok')
end

if not record then return answer('no-epoch') end
if request.epoch ~= record.epoch then return answer('other-epoch') end
if request.gone_after ~= record.gone_after then return answer('other-timing') end

local me = record.members[request.member]
if request.op == 'enter' then
  if not me then
    me = { gateway = request.gateway, number = 0, silent = 0, limits = {}, demand = {} }
    record.members[request.member] = me
    me.entering = true
  end
elseif not me then
  return answer('gone')
end
if me.gone then return answer('gone') end
if request.number <= me.number then return answer('stale') end

-- === Silence ===

local gone_after = record.gone_after

-- Nobody serves its calls any more.
local function mark_gone(id, other)
  other.gone, other.demand = true, {}
  -- An answer that it never reported may have told it of a lock, so one call goes alone first.
  for name, entry in pairs(other.limits) do
    if entry.alone and entry.held > 0 and not record.locks[name] then
      record.locks[name] = { name = 'gone-' .. id, rest = 0 }
    end
  end
end

-- The age of the epoch and the silence of the others, as far as the member has watched them.
record.age = math.max(record.age, request.age)
for id, seen in pairs(request.silences) do
  local other = record.members[id]
  if other and id ~= request.member and other.number == seen.number then
    other.silent = math.max(other.silent, seen.silent)
  end
end
me.number, me.silent, me.at = request.number, 0, now

-- The longest window that any member says holds for all.
local function longest_window(name, window)
  for _, other in pairs(record.members) do
    local entry = other.limits[name]
    window = math.max(window, entry and entry.window or 0)
  end
  return window
end

-- How long slots of a limit may still be in use after their member was in touch for the last time.
local function settle(name, window)
  return gone_after + math.ceil(longest_window(name, window) * 1.01)
end

-- How many slots of a member that left are still in use.
local function in_use(ends, silent)
  local slots = 0
  for _, one in ipairs(ends) do
    if silent < one[1] * 1.01 then slots = slots + one[2] end
  end
  return slots
end

-- A process that died leaves its slots as one that ends in good order, except that nobody knows when their uses end. Its
-- silence begins anew, because only now it is certain that it is dead.
for _, process in ipairs(request.dead) do
  for id, other in pairs(record.members) do
    if not other.gone and string.sub(id, 1, #process + 1) == process .. '.' then
      mark_gone(id, other)
      other.number, other.silent = other.number + 1, 0
      for name, entry in pairs(other.limits) do
        entry.left = { { request.grace + longest_window(name, entry.window), entry.held } }
      end
    end
  end
end

for id, other in pairs(record.members) do
  if not other.gone and other.silent >= gone_after then mark_gone(id, other) end
  if other.gone then
    local left = false
    for name, entry in pairs(other.limits) do
      -- Sealed slots cannot be used without this script.
      entry.sealed = 0
      if entry.left then
        entry.held = in_use(entry.left, other.silent)
      elseif other.silent >= settle(name, entry.window) then
        entry.held = 0
      end
      if entry.held > 0 then
        left = true
      else
        other.limits[name] = nil
      end
    end
    -- While members may still enter with claims, an id must not come again.
    if not left and other.silent >= gone_after and record.age >= gone_after then record.members[id] = nil end
  end
end

-- === What the member holds ===

for name, says in pairs(request.limits) do
  local limit = record.limits[name]
  local entry = me.limits[name] or { held = 0, sealed = 0, idle = 0 }
  me.limits[name] = entry
  entry.requests, entry.window, entry.alone = says.requests, says.window, says.alone
  if not limit then
    -- In a young epoch unknown members may use what nobody has claimed.
    local young = not record.fresh and record.age < settle(name, entry.window)
    limit = { shut = young and math.max(0, says.requests - says.spare) or 0 }
    record.limits[name] = limit
    if young and says.alone and not record.locks[name] then
      record.locks[name] = { name = 'epoch-' .. record.epoch, rest = 0 }
    end
  elseif limit.shut > 0 and record.age >= settle(name, entry.window) then
    limit.shut = 0
  end
  if me.entering then
    -- Claims: from memory, accepted while their member cannot be gone.
    if record.age < gone_after then
      entry.held, entry.sealed = says.held, says.sealed
      limit.shut = math.max(0, limit.shut - says.held - says.sealed)
    end
  elseif request.op ~= 'enter' then
    -- A member that enters again has had no answer that counts in this epoch. It may go on in an epoch of another master,
    -- and be granted there again what it gives back here.
    entry.held, entry.sealed = math.min(entry.held, says.held), math.min(entry.sealed, says.sealed)
  end
  entry.idle, entry.ends = math.min(says.idle, entry.held), says.ends
end
me.entering = nil
me.demand = request.demand

-- === Locks ===

for route, says in pairs(request.locks) do
  local lock = record.locks[route]
  if says.met and not says.over and (not lock or (lock.name ~= says.name and says.rest > lock.rest)) then
    record.locks[route] = { name = says.name, rest = says.rest }
    publish({ lock = route })
  elseif lock and lock.name == says.name then
    lock.rest = math.min(lock.rest, says.rest)
    if says.over and lock.probe == request.member then
      record.locks[route] = nil
      publish({ lock = route })
    end
  end
end

-- After a lock, one call of one member goes alone.
for route, lock in pairs(record.locks) do
  local says = request.locks[route]
  local wants = says and says.name == lock.name and says.probe
  local holder = lock.probe and record.members[lock.probe]
  if not holder or holder.gone or (lock.probe == request.member and not wants) then lock.probe = nil end
  if lock.rest <= 0 and not lock.probe and wants then lock.probe = request.member end
end

if request.op == 'leave' then
  me.gone, me.demand = true, {}
  for name, entry in pairs(me.limits) do
    entry.left = request.limits[name] and request.limits[name].ends or {}
  end
  save()

  return answer('ok')
end

-- === Grants ===

local members = 0
for _, other in pairs(record.members) do
  if not other.gone then members = members + 1 end
end

-- The smallest number and the longest window that any member says, and what is free.
local views = {}
local function view(name)
  if views[name] then return views[name] end
  local seen = { requests = math.huge, window = 0, used = record.limits[name] and record.limits[name].shut or 0 }
  for _, other in pairs(record.members) do
    local entry = other.limits[name]
    if entry then
      seen.used = seen.used + entry.held + entry.sealed
      if not other.gone then
        seen.requests, seen.window = math.min(seen.requests, entry.requests), math.max(seen.window, entry.window)
      end
    end
  end
  seen.free = math.max(0, seen.requests - seen.used)
  views[name] = seen
  return seen
end

-- A member that has said nothing for three beats wants nothing. The server's clock decides only whose turn it is.
local function is_live(other)
  return not other.gone and math.abs(now - (other.at or 0)) <= 3 * request.beat
end

-- What a member may take from: its own entry, if it is the one that asks now, otherwise a copy.
local copies = {}
local function entry_of(id, name)
  local entry = record.members[id].limits[name]
  if id == request.member or not entry then return entry end
  local key = id .. ' ' .. name
  copies[key] = copies[key] or { held = entry.held, sealed = entry.sealed, idle = entry.idle, window = entry.window }
  return copies[key]
end

local function can_take(id, names)
  for _, name in ipairs(names) do
    local entry = entry_of(id, name)
    if not entry or (entry.idle <= 0 and entry.sealed <= 0 and view(name).free <= 0) then return false end
  end
  return true
end

-- Takes one slot. Of long windows it opens some more, because each one there costs a request.
local reserved = {}
local function take(id, name)
  local entry, seen = entry_of(id, name), view(name)
  if id == request.member then reserved[name] = (reserved[name] or 0) + 1 end
  if entry.idle > 0 then
    entry.idle = entry.idle - 1
    return
  end
  local chunk = entry.window > request.long and math.ceil(seen.requests / 100) or 1
  local sealed = math.min(entry.sealed, chunk)
  local fresh = math.min(seen.free, chunk - sealed)
  entry.sealed, seen.free = entry.sealed - sealed, seen.free - fresh
  entry.held, entry.idle = entry.held + sealed + fresh, entry.idle + sealed + fresh - 1
end

-- All that wait for a route, and how many slots each caller uses on all members. While a route is locked, only the
-- member whose call goes alone can use a slot; if others kept theirs for calls that may not go, it might never get one.
local routes = {}
for id, other in pairs(record.members) do
  if is_live(other) then
    for route, demand in pairs(other.demand) do
      routes[route] = routes[route] or { waiting = {}, using = {} }
      local of, lock = routes[route], record.locks[route]
      local may_go = not lock or lock.probe == id
      for caller, wish in pairs(demand.callers) do
        of.using[caller] = (of.using[caller] or 0) + wish.using
        if wish.waiting > 0 and may_go then
          of.waiting[#of.waiting + 1] = { id = id, caller = caller, wish = wish, limits = demand.limits,
            own = wish.own or { {} } }
        end
      end
    end
  end
end

-- The caller with the fewest slots for its weight goes first; among its calls the most urgent one, then one of the member
-- that was given the fewest just now, then the one that waits longest.
local function goes_before(one, other, using)
  local left = using[one.caller] / one.wish.weight
  local right = using[other.caller] / other.wish.weight
  if left ~= right then return left < right end
  if one.wish.urgency ~= other.wish.urgency then return one.wish.urgency < other.wish.urgency end
  if one.given ~= other.given then return one.given < other.given end
  if one.wish.waited ~= other.wish.waited then return one.wish.waited > other.wish.waited end
  return one.id .. one.caller < other.id .. other.caller
end

local called, lacks = {}, {}
for _, of in pairs(routes) do
  local blocked = {}
  for _, one in ipairs(of.waiting) do one.left, one.given = one.wish.waiting, 0 end
  while true do
    local best
    for _, one in ipairs(of.waiting) do
      local waits = one.left > 0 and not one.blocked and not blocked[one.id]
      if waits and (not best or goes_before(one, best, of.using)) then best = one end
    end
    if not best then break end
    -- Its caller's limits, of which one set is enough.
    local own
    for _, names in ipairs(best.own) do
      if not own and can_take(best.id, names) then own = names end
    end
    if not own then
      -- It keeps no slot of the route from others.
      best.blocked = true
    elseif not can_take(best.id, best.limits) then
      blocked[best.id] = true
      if best.id == request.member then
        for _, name in ipairs(best.limits) do lacks[name] = true end
      end
    else
      for _, names in ipairs({ best.limits, own }) do
        for _, name in ipairs(names) do take(best.id, name) end
      end
      best.left, best.given = best.left - 1, best.given + 1
      of.using[best.caller] = of.using[best.caller] + 1
      if best.id ~= request.member then
        called[best.id] = true
      else
        best.wish.waiting, best.wish.using = best.left, best.wish.using + 1
      end
    end
  end
end

-- The limits for which calls wait: those of their route, unless their caller's limits are all that they lack.
local function awaited(one)
  local names = {}
  if not one.blocked then
    for _, name in ipairs(one.limits) do names[#names + 1] = name end
  end
  for _, own in ipairs(one.own) do
    for _, name in ipairs(own) do names[#names + 1] = name end
  end
  return names
end

-- What other members wait for goes through this record. What nobody waits for is dealt out, so that a usual call needs
-- no request, and so that the living members can claim all of it after a loss.
local wanted, waiting = {}, {}
for _, of in pairs(routes) do
  for _, one in ipairs(of.waiting) do
    for _, name in ipairs(awaited(one)) do
      if one.id ~= request.member then
        wanted[name], waiting[name] = true, (waiting[name] or 0) + one.wish.waiting
      elseif one.left > 0 and not can_take(one.id, { name }) then
        lacks[name] = true
      end
    end
  end
end
for name in pairs(me.limits) do
  -- More is held than there is, after a smaller number or after claims.
  if view(name).used > view(name).requests then wanted[name] = true end
end
if request.deal then
  for name, entry in pairs(me.limits) do
    local seen = view(name)
    local fair = math.ceil(seen.requests / members) - entry.held - entry.sealed
    local share = math.min(fair, math.ceil(seen.free / members))
    if not wanted[name] and share > 0 then
      seen.free = seen.free - share
      if entry.window > request.long then
        entry.sealed = entry.sealed + share
      else
        entry.held, entry.idle = entry.held + share, entry.idle + share
      end
    end
  end
end

-- === Reply ===

local reply = { limits = {}, locks = {}, wanted = wanted, silences = {}, age = record.age }
for name, entry in pairs(me.limits) do
  local seen = view(name)
  local ends = nil
  if lacks[name] then
    for id, other in pairs(record.members) do
      local its = other.limits[name]
      if id ~= request.member and its and its.ends then
        for _, one in ipairs(its.ends) do
          ends = ends or {}
          ends[#ends + 1] = { math.max(0, one[1] - math.max(0, now - (other.at or now))), one[2] }
        end
      end
    end
  end
  reply.limits[name] = { held = entry.held, sealed = entry.sealed, requests = seen.requests, window = seen.window,
    shut = record.limits[name].shut, reserved = reserved[name] or 0, waiting = waiting[name] or 0,
    ends = ends }
end
for route, lock in pairs(record.locks) do
  reply.locks[route] = { name = lock.name, rest = lock.rest, probe = lock.probe == request.member }
end
for id, other in pairs(record.members) do
  if id ~= request.member then reply.silences[id] = { number = other.number, silent = other.silent } end
end

-- Members whose turn it is ask at once; members with idle slots give them back.
local message = {}
if next(called) then message.called = called end
for name in pairs(lacks) do
  for id, other in pairs(record.members) do
    local entry = other.limits[name]
    if id ~= request.member and not other.gone and entry and entry.idle + entry.sealed > 0 then
      message.wanted = message.wanted or {}
      message.wanted[name] = true
    end
  end
end
if next(message) then publish(message) end
save()
return answer('ok', reply)
