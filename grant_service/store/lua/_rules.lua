-- What all verbs share. core/lifecycle/ is the model: the same questions in the same order, the same words.
-- KEYS[1] is the hash {seq, now, standing, looked_in} and ARGV[1] the call's nonce, in every script. Times and lengths are
-- milliseconds.
-- A script reads all it needs before it writes, because what it has written stays when it fails.

local META, NONCE = KEYS[1], ARGV[1]
local EPOCH = host_epoch()
if not EPOCH then return { 'UNFIT', NONCE } end
local CLOCK = host_time_ms()
local seen = redis.call('HMGET', META, 'seq', 'now', 'standing')
local seq, floor = tonumber(seen[1] or 0), tonumber(seen[2] or 0)
local ANY_FENCE = (seen[3] or '0') ~= '0' -- where none stands, nobody looks for one
local NOW = math.max(CLOCK, floor) -- time never goes back

-- A whole number as text; Lua itself would write 1.7e+12.
local function text(number)
  return string.format('%.0f', number)
end

-- The parts of a comma-separated list.
local function split(list)
  local parts = {}
  for part in string.gmatch(list, '[^,]+') do parts[#parts + 1] = part end
  return parts
end

-- A hash as a table, or nil if there is none.
local function read(key)
  local flat, record = redis.call('HGETALL', key), {}
  if #flat == 0 then return nil end
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  return record
end

-- Some fields of a hash as a table, or nil if there is no hash; the first one named is in every such hash.
local function pick(key, ...)
  local values, record = redis.call('HMGET', key, ...), {}
  if not values[1] then return nil end
  for i, name in ipairs({ ... }) do record[name] = values[i] end
  return record
end

-- A table as a list of names and values.
local function flatten(record)
  local flat = {}
  for name, value in pairs(record) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return flat
end

-- Every way out of a decision: the highest time seen is kept, whatever was decided.
local function answer(word, ...)
  if NOW > floor then redis.call('HSET', META, 'now', text(NOW)) end
  return { word, NONCE, ... }
end

local function refused(reason, details)
  return answer('REFUSED', reason, unpack(flatten(details)))
end

-- Take the next number of the store. It is taken before it is used: a gap is better than a number given twice.
local function take_seq()
  seq, floor = seq + 1, NOW
  redis.call('HSET', META, 'seq', text(seq), 'now', text(NOW))
  return text(seq)
end

-- The words of XADD for an entry; empty values are left out.
local function entry(number, kind, ...)
  local words, data = { number .. '-0', 'kind', kind, 'time', text(NOW) }, { ... }
  for i = 1, #data, 2 do
    if data[i + 1] ~= '' then
      words[#words + 1] = data[i]
      words[#words + 1] = data[i + 1]
    end
  end
  return words
end

-- Write a journal entry under a number. A journal that is gone while its run is not means that facts were lost: then
-- nothing is decided, and where this is a script's first write, nothing else is written.
local function write_entry(journal, number, kind, ...)
  if not redis.call('XADD', journal, 'NOMKSTREAM', unpack(entry(number, kind, ...))) then
    error('the journal ' .. journal .. ' is gone')
  end
end

-- Write a journal entry under the next number, and answer it.
local function append(journal, kind, ...)
  local number = take_seq()
  write_entry(journal, number, kind, ...)
  return number
end

-- Tell the sidecars that a run, or '' for nobody knows how many, has stopped. It is a hint: a user of Redis that may not
-- publish loses nothing but the time until somebody looks.
local function hint(run_id)
  redis.pcall('PUBLISH', META .. ':stops', run_id)
end

-- Refuse to give authority by a clock that has gone back further than a correction would.
local function clock_unsure()
  local behind = NOW - CLOCK
  if behind > CLOCK_TOLERANCE_MS then return refused('CLOCK_UNSURE', { behind_ms = text(behind) }) end
end

-- How a run was ended, in words for whoever is refused because of it.
local function end_details(key, run_id)
  local run = read(key)
  local all = {
    run = run_id, ended_run = run.run, stop_reason = run.end_reason, actor = run.end_actor,
    note = run.end_note, tag = run.end_tag, ended_ago_ms = text(NOW - tonumber(run.end_time)),
    ended_time = run.end_time, seq = run.end_seq,
  }
  for name, value in pairs(all) do
    if value == '' then all[name] = nil end
  end
  return all
end

-- The runs that must all be active for this one to act, comma-separated: the root first, itself last.
local function path_of(run, run_id)
  return run.ancestors == '' and run_id or run.ancestors .. ',' .. run_id
end

-- Why no run below this path may act, and the details; nil while it may. The root is asked first.
-- `first` is the place of the root's key in KEYS. With `owners` it adds to it the runs that set budgets.
local function ended(path, first, run_id, owners)
  for i, link in ipairs(path) do
    local key = KEYS[first + i - 1]
    local run = redis.call('HMGET', key, 'state', 'epoch', 'deadline', 'budgets')
    local state = run[1]
    if not state then return 'RUN_UNKNOWN', { run = link } end
    if state == 'CANCELLED' then return 'REVOKED', end_details(key, run_id) end
    if state ~= 'ACTIVE' then return 'RUN_FINISHED', end_details(key, run_id) end
    if run[2] ~= EPOCH then return 'STORE_EPOCH', { run = run_id, ended_run = link } end
    local deadline = tonumber(run[3])
    if NOW >= deadline then
      local ago = text(NOW - deadline)
      return 'RUN_DEADLINE', { run = run_id, ended_run = link, ended_ago_ms = ago, ended_time = text(deadline) }
    end
    if owners and run[4] ~= '' then
      owners[#owners + 1] = { kind = 'run', id = link, run = link, key = key, text = run[4] }
    end
  end
end
