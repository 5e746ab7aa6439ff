// The torch-free part alone.
#include <weft/core/json.hpp>

int main() { return weft::Json::parse("{\"a\": [1, 2]}").at("a").size() == 2 ? 0 : 1; }
