-- What prepare, perform and spend share: what happens when a budget has less left than is asked of it.
-- KEYS  from REST on: jobs, cuts, the journals of the runs above (root first); then the verb's own

-- The path of a run of the path.
local function path_to(run_id)
  local above = {}
  for _, link in ipairs(PATH) do
    above[#above + 1] = link
    if link == run_id then return table.concat(above, ',') end
  end
end

-- The budgets that have less left than is asked of them, the nearest first: grants before runs, from below up. `ends`
-- says that giving back what is held could not help, and that what set the budget ends then.
local function short_of(wanted)
  local short = {}
  for i = #OWNERS, 1, -1 do
    local owner = OWNERS[i]
    for _, budget in ipairs(owner.budgets) do
      local asked = wanted[budget.name] or 0
      if asked > left(budget) then
        local ends = budget.policy == 'CANCEL' and budget.taken + asked > budget.limit
        if ends and owner.kind == 'run' then
          owner.path = path_to(owner.run)
          owner.has_jobs = find_jobs(KEYS[REST], owner.path, true, 1)[1]
        end
        short[#short + 1] = { owner = owner, budget = budget, asked = asked, ends = ends }
      end
    end
  end
  return short
end

local function journal_of(run_id)
  for i, link in ipairs(PATH) do
    if link == run_id then return i == #PATH and JOURNAL or KEYS[REST + i + 1] end
  end
end

-- End what set a budget, once. The record goes before the line: should that fail, it has ended all the same.
local function end_owner(owner, budget)
  if owner.ended then return end
  owner.ended = true
  local journal, number = journal_of(owner.run), take_seq()
  if owner.kind == 'run' then
    local note = 'budget ' .. budget.name .. ' of ' .. text(budget.limit) .. ' ran out'
    put_cancelled(owner.key, number, 'BUDGET', 'budget', note, budget.name)
    write_entry(journal, number, 'CANCELLED', 'reason', 'BUDGET', 'actor', 'budget', 'note', note, 'tag', budget.name)
    if owner.has_jobs then look_below(KEYS[REST + 1], owner.path, AT_ONCE) end
  else
    redis.call('HSET', owner.key, 'end_time', text(NOW), 'end_seq', number, 'end_budget', budget.name)
    write_entry(journal, number, 'EXHAUSTED', 'grant', owner.id, 'budget', budget.name)
  end
  hint(owner.run)
end

-- Refuse what is asked; if the budget has run out and says so, end what set it first.
local function run_out(short, intent)
  local owner, budget = short.owner, short.budget
  local details = {
    budget = budget.name, owner = owner.kind .. ' ' .. owner.id, limit = text(budget.limit), taken = text(budget.taken),
    reserved = text(held(budget)), remaining = text(left(budget)), asked = text(short.asked),
  }
  if short.ends then details['ended_' .. owner.kind] = owner.id end
  return refuse('BUDGET_EXHAUSTED', intent, details, function()
    if short.ends then end_owner(owner, budget) end
  end)
end
