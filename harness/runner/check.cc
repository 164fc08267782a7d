// The record line of a check.
#include "check.h"

namespace runner {

Json Report::record(const Driver& driver) const {
  std::vector<std::string> all = faults;
  const Agreement& a = agreement;
  if (a.bad_values) all.push_back(std::to_string(a.bad_values) + " values are NaN, or not 0 or -inf where nothing is seen");
  if (!(a.rel_l2 <= rel_l2_tolerance)) all.push_back("relative L2 error above its tolerance");
  if (!(a.lse_err <= lse_tolerance)) all.push_back("LSE error above its tolerance");
  Json list = Json::array();
  for (const std::string& fault : all) list.push(fault);
  Json record = Json::object();
  record.set("ok", all.empty()).set("op", op_).set("rel_l2", a.rel_l2).set("max_abs", a.max_abs).set("lse_err", a.lse_err).set("bit_equal", bit_equal);
  record.set("tolerance", Json::object().set("rel_l2", rel_l2_tolerance).set("lse", lse_tolerance)).set("faults", list).set("ms", ms).set("emulated", driver.emulated());
  for (const auto& [key, value] : extra.members()) record.set(key, value);
  if (driver.emu_counters) {
    const char* counters = driver.emu_counters();
    if (counters && *counters) record.set("counters", Json::parse(counters));
  }
  return record;
}

}  // namespace runner
