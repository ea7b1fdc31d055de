-- What undo and claim share: how the action's run stands.
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
