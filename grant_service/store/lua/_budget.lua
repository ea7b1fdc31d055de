-- Budgets, as core/budget.py has them. A record keeps them as `name limit policy taken until:amount,until:amount`,
-- joined by semicolons; what was asked for is `name limit policy`. Amounts are whole numbers up to 10^15.

-- The budgets as they were asked for.
local function asked_budgets(kept)
  return (string.gsub(kept, '([^ ;]+ [^ ;]+ [^ ;]+) [^ ;]* [^;]*', '%1'))
end

-- Budgets asked for as a record keeps them, when nothing was taken yet.
local function new_budgets(asked)
  return (string.gsub(asked, '[^;]+', '%0 0 '))
end

-- Say whether a record is what is asked for, budgets included; what became of them since is no difference.
local function is_same(existing, asked)
  for name, value in pairs(asked) do
    local stored = existing[name]
    if name == 'budgets' then stored = asked_budgets(stored) end
    if stored ~= value then return false end
  end
  return true
end
