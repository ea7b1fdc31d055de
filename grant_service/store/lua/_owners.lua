-- What the verbs that hold, take or tell amounts share.

-- The runs and grants that set budgets, as the verb found them: runs before grants, the first ones first.
local OWNERS = {}

-- Amounts are held until the end of a slot of this many milliseconds.
local SLOT_MS = 1000

-- The most that can be on record as taken. What was used up already is taken whatever the limit is.
local MOST_TAKEN = 4e15

-- Add a run or grant to those that set budgets, if it sets any; `kept` are its budgets as its record keeps them.
local function add_budgets(kept)
  if kept ~= '' then OWNERS[#OWNERS + 1] = { text = kept } end
end

-- Take the budgets apart.
local function open_budgets()
  for _, owner in ipairs(OWNERS) do
    owner.budgets = {}
    for one in string.gmatch(owner.text, '[^;]+') do
      local name, limit, policy, taken, slots = string.match(one, '^(%S+) (%d+) (%u+) (%d+) (%S*)$')
      local budget = { name = name, limit = tonumber(limit), policy = policy, taken = tonumber(taken), slots = {} }
      for stop, amount in string.gmatch(slots, '(%d+):(%d+)') do
        budget.slots[#budget.slots + 1] = { stop = tonumber(stop), amount = tonumber(amount) }
      end
      owner.budgets[#owner.budgets + 1] = budget
    end
  end
end

-- How much is held for prepared actions.
local function held(budget)
  local sum = 0
  for _, slot in ipairs(budget.slots) do
    if slot.stop > NOW then sum = sum + slot.amount end
  end
  return sum
end

-- How much can still be asked for.
local function left(budget)
  return math.max(0, budget.limit - budget.taken - held(budget))
end

-- What is left under each name, the least of all budgets of that name: `name=amount,name=amount`.
local function remaining()
  if #OWNERS == 0 then return '' end
  local least, words = {}, {}
  for _, owner in ipairs(OWNERS) do
    for _, budget in ipairs(owner.budgets) do
      local amount = left(budget)
      if not least[budget.name] or amount < least[budget.name] then least[budget.name] = amount end
    end
  end
  for name, amount in pairs(least) do words[#words + 1] = name .. '=' .. text(amount) end
  return table.concat(words, ',')
end

-- What an action takes of each budget that is set.
local function charges(costs)
  local wanted = { tool_calls = 1 }
  for name, amount in string.gmatch(costs, '([^,=]+)=(%d+)') do wanted[name] = tonumber(amount) end
  return wanted
end

-- Call `change` for every budget that something is asked of.
local function each(wanted, change)
  for _, owner in ipairs(OWNERS) do
    for _, budget in ipairs(owner.budgets) do
      local amount = wanted[budget.name] or 0
      if amount > 0 then change(budget, amount) end
    end
  end
end

-- Hold an amount for an action until the end of the slot in which it expires, or, if it is negative, let go of it.
-- What has lapsed is free already.
local function hold(budget, amount, expire_time)
  local last, slots, found = math.ceil(expire_time / SLOT_MS) * SLOT_MS, {}, false
  if last > NOW then
    for _, slot in ipairs(budget.slots) do
      if slot.stop == last then slot.amount, found = math.max(0, slot.amount + amount), true end
    end
    if not found then
      budget.slots[#budget.slots + 1] = { stop = last, amount = math.max(0, amount) }
      table.sort(budget.slots, function(one, other) return one.stop < other.stop end)
    end
  end
  for _, slot in ipairs(budget.slots) do
    if slot.stop > NOW and slot.amount > 0 then slots[#slots + 1] = slot end
  end
  budget.slots = slots
end

-- Hold what a prepared action will take.
local function hold_for(costs, expire_time)
  each(charges(costs), function(budget, amount) hold(budget, amount, expire_time) end)
end

-- Give back what was held for an action.
local function let_go(costs, expire_time)
  each(charges(costs), function(budget, amount) hold(budget, -amount, expire_time) end)
end

-- Take amounts for good.
local function take(wanted)
  each(wanted, function(budget, amount) budget.taken = math.min(budget.taken + amount, MOST_TAKEN) end)
end

-- Write the budgets that have changed.
local function write_budgets()
  for _, owner in ipairs(OWNERS) do
    local all = {}
    for i, one in ipairs(owner.budgets) do
      local slots = {}
      for j, slot in ipairs(one.slots) do slots[j] = text(slot.stop) .. ':' .. text(slot.amount) end
      local words = { one.name, text(one.limit), one.policy, text(one.taken), table.concat(slots, ',') }
      all[i] = table.concat(words, ' ')
    end
    local now = table.concat(all, ';')
    if now ~= owner.text then redis.call('HSET', owner.key, 'budgets', now) end
  end
end
