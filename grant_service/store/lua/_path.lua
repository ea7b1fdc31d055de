-- What resolve, undo and claim share: how the action's run stands.
-- KEYS  at the end the runs of the path (root first, the action's own run last)
-- ARGV  at the end ancestors (comma-separated, root first)

local ANCESTORS = ARGV[#ARGV]
local PATH = split(ANCESTORS)
PATH[#PATH + 1] = RUN_ID
local RUNS_AT = #KEYS - #PATH + 1

-- Say whether the run is there; if it is, but not with this path, answer the one to ask again with.
local function find_run()
  local run = pick(KEYS[#KEYS], 'state', 'ancestors')
  if not run then return false end
  if run.ancestors ~= ANCESTORS then return true, { 'PATH', NONCE, path_of(run, RUN_ID) } end
  return true
end

-- Say whether entries of the run, and with them a permit, may be lost: an epoch ended while it was active.
local function may_lack_entries(there)
  local ended_first, of_another_epoch = false, false
  for i = RUNS_AT, #KEYS do
    local run = there and pick(KEYS[i], 'state', 'epoch', 'end_epoch')
    if not run then return true end
    if run.state ~= 'ACTIVE' and run.end_epoch == run.epoch then ended_first = true end
    if run.epoch ~= EPOCH then of_another_epoch = true end
  end
  return of_another_epoch and not ended_first
end
