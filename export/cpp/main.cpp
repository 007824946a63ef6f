// Classify with a model.onnx, and check that it computes here what it computed at export: check model.onnx device/
// Exit code 0: the golden outputs agree. 2: they do not, or something cannot be read; one sentence says which.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Golden {
  std::vector<int64_t> shape;    // of the inputs, [n, ...]
  std::vector<uint8_t> inputs;   // noise, not data
  std::vector<double> outputs;   // at export, row by row
  double tolerance;
};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no such file: " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What stands behind a key of the kit's own JSON, which is flat and written by edgepriv alone.
std::string value_of(const std::string& json, const std::string& key) {
  const auto at = json.find("\"" + key + "\":");
  if (at == std::string::npos) throw std::runtime_error("the kit's records have no " + key + ": copy the kit again");
  const auto start = json.find_first_not_of(" \n", at + key.size() + 3);
  if (start == std::string::npos) throw std::runtime_error("the kit's records are cut short: copy the kit again");
  if (json[start] == '"') return json.substr(start + 1, json.find('"', start + 1) - start - 1);
  int depth = 0;
  for (auto end = start; end < json.size(); ++end) {
    if (json[end] == '[') ++depth;
    if (json[end] == ']' && --depth == 0) return json.substr(start, end + 1 - start);
    if (depth == 0 && (json[end] == ',' || json[end] == '}')) return json.substr(start, end - start);
  }
  throw std::runtime_error("the kit's records are cut short: copy the kit again");
}

std::vector<double> numbers_in(const std::string& text) {
  std::vector<double> numbers;
  for (const char* at = text.c_str(); *at;) {
    char* end = nullptr;
    const double number = std::strtod(at, &end);
    if (end == at) {
      ++at;
    } else {
      numbers.push_back(number);
      at = end;
    }
  }
  return numbers;
}

std::vector<uint8_t> from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t held = 0;
  int bits = 0;
  for (const char sign : text) {
    const auto digit = digits.find(sign);
    if (digit == std::string::npos) break;
    held = (held << 6) | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) bytes.push_back(static_cast<uint8_t>(held >> (bits -= 8)));
  }
  return bytes;
}

Golden golden_of(const std::string& kit) {
  const auto record = text_of(kit + "/golden.json");
  Golden golden;
  for (const double size : numbers_in(value_of(record, "shape"))) golden.shape.push_back(static_cast<int64_t>(size));
  golden.inputs = from_base64(value_of(record, "x"));
  golden.outputs = numbers_in(value_of(record, "outputs"));
  golden.tolerance = numbers_in(value_of(text_of(kit + "/device.json"), "tolerance")).at(0);
  return golden;
}

// The model's first output for bytes [n, ...]: probabilities or logits, or labels. Bytes are divided by 255 for a model that
// takes float32; nothing else is needed, since normalisation is inside the model.
std::vector<double> classify(Ort::Session& session, const std::vector<uint8_t>& bytes, const std::vector<int64_t>& shape) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto input = session.GetInputNameAllocated(0, allocator);
  const auto output = session.GetOutputNameAllocated(0, allocator);
  const char* const inputs[] = {input.get()};
  const char* const outputs[] = {output.get()};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto type = session.GetInputTypeInfo(0);
  const auto about = type.GetTensorTypeAndShapeInfo();
  const auto takes = about.GetElementType();
  if (takes != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 && takes != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    throw std::runtime_error("the model takes neither float32 nor bytes");
  }
  const int64_t fixed = about.GetShape().at(0);  // examples that the model takes at a time, -1 if any number
  const int64_t step = fixed > 0 ? fixed : shape.at(0);
  const std::size_t row = bytes.size() / static_cast<std::size_t>(shape.at(0));

  std::vector<double> answers;
  for (int64_t first = 0; first < shape[0]; first += step) {
    const auto taken = static_cast<std::size_t>(std::min(step, shape[0] - first));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(first) * row);
    std::vector<uint8_t> plain(begin, begin + static_cast<std::ptrdiff_t>(taken * row));
    plain.resize(static_cast<std::size_t>(step) * row);  // what is left over is filled up with zeros
    std::vector<float> scaled(plain.begin(), plain.end());
    for (float& value : scaled) value /= 255.0f;
    auto part = shape;
    part[0] = step;
    const auto x = takes == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8
                       ? Ort::Value::CreateTensor<uint8_t>(memory, plain.data(), plain.size(), part.data(), part.size())
                       : Ort::Value::CreateTensor<float>(memory, scaled.data(), scaled.size(), part.data(), part.size());
    const auto returned = session.Run(Ort::RunOptions{nullptr}, inputs, &x, 1, outputs, 1);
    const auto result = returned.front().GetTensorTypeAndShapeInfo();
    const auto count = result.GetElementCount() / static_cast<std::size_t>(step) * taken;
    if (result.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64) {
      const auto* labels = returned.front().GetTensorData<int64_t>();
      answers.insert(answers.end(), labels, labels + count);
    } else {
      const auto* scores = returned.front().GetTensorData<float>();
      answers.insert(answers.end(), scores, scores + count);
    }
  }
  return answers;
}

// A number of threads from the command line, 0 for all cores.
int threads_in(const std::string& text) {
  if (text.empty() || text.size() > 4 || text.find_first_not_of("0123456789") != std::string::npos) {
    throw std::runtime_error("THREADS " + text + ": give a whole number, 0 for all cores");
  }
  return std::stoi(text);
}

void check(const std::string& model, const std::string& kit, int threads) {
  const auto golden = golden_of(kit);
  // Builds of onnxruntime send usage events to its makers; the switch is read when the environment is made.
#ifdef _WIN32
  _putenv_s("ORT_DISABLE_TELEMETRY", "1");
#else
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
#endif
  Ort::Env environment(ORT_LOGGING_LEVEL_FATAL, "edgepriv");
  environment.DisableTelemetryEvents();
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(threads);
  options.SetInterOpNumThreads(1);
  // Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32.
  options.AddConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
#ifdef _WIN32
  const std::wstring path(model.begin(), model.end());
#else
  const std::string& path = model;
#endif
  Ort::Session session(environment, path.c_str(), options);

  const auto outputs = classify(session, golden.inputs, golden.shape);
  double difference = outputs.size() == golden.outputs.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t at = 0; at < std::min(outputs.size(), golden.outputs.size()); ++at) {
    const double gap = std::abs(outputs[at] - golden.outputs[at]);
    if (!(gap <= difference)) difference = gap;  // also where a gap is not a number
  }
  const bool labels = session.GetOutputTypeInfo(0).GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
  const double allowed = labels ? 0 : golden.tolerance;
  if (!(difference <= allowed)) {
    std::ostringstream told;
    told << model << " computes something else here: outputs differ by up to " << difference
         << " from those at export; try another version of onnxruntime";
    throw std::runtime_error(told.str());
  }
  std::cout << golden.shape[0] << " golden outputs agree within " << difference << " (allowed " << allowed << ")\n";
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 3 || count > 4) throw std::runtime_error("usage: check MODEL.onnx KIT [THREADS]");
    check(arguments[1], arguments[2], count == 4 ? threads_in(arguments[3]) : 1);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
