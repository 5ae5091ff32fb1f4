-- question: How does the provider itself divide a node's charge over its pods and tasks?
-- grain: pod or task, meter
-- params: import (that brought the charge), resource (of the node), start, end (of the charge)
-- time: hours
-- The node's charge has the money: these are its parts, and are in no total.
SELECT resource_id, meter, any_value(tags) AS tags, sum(split_cost) AS split_cost, sum(unused_cost) AS unused_cost,
       CAST(sum(ReservedQuantity) AS DOUBLE) AS reserved_quantity, CAST(sum(ActualQuantity) AS DOUBLE) AS used_quantity,
       CAST(sum(SplitQuantity) AS DOUBLE) AS split_quantity, any_value(QuantityUnit) AS quantity_unit,
       avg(split_ratio) AS split_ratio, billing_currency
FROM split_charge
WHERE import_id = $import AND lower(parent_resource_id) = lower($resource) AND charge_start < $end AND charge_end > $start
GROUP BY resource_id, meter, billing_currency
ORDER BY split_cost DESC NULLS LAST, resource_id, meter
LIMIT 500
