-- What claim and call_off share, after _path.lua.

local CUT_OFF = { REVOKED = true, RUN_DEADLINE = true, STORE_EPOCH = true }

-- Say whether somebody cancelled the run or one above it, or its time was over while it was at work. `there` says whether
-- the run is.
local function was_cut_off(there)
  if not there then return true end
  local finished = false
  for i = RUNS_AT, #KEYS do
    local state = redis.call('HGET', KEYS[i], 'state')
    if state == 'CANCELLED' then return true end
    if state == 'FINISHED' then finished = true end
  end
  if finished then return false end
  return CUT_OFF[ended(PATH, RUNS_AT, RUN_ID) or ''] or false
end
