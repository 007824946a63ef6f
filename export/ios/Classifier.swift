// A model.onnx of edgepriv in an iOS app. Not built by its authors; see README.md.

import Foundation
import OnnxRuntimeBindings

struct ClassifierError: Error { let message: String }

/// Classifies bytes [n, ...], such as pixels [n, channels, height, width]; normalisation is inside the model.
final class Classifier {
    private let environment: ORTEnv
    private let session: ORTSession

    init(model: URL, threads: Int32 = 1) throws {
        // Builds of onnxruntime send usage events to its makers; the switch is read when the environment is made.
        setenv("ORT_DISABLE_TELEMETRY", "1", 1)
        environment = try ORTEnv(loggingLevel: .error)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(threads)
        // Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32.
        try options.addConfigEntry(withKey: "session.qdq_matmulnbits_accuracy_level", value: "1")
        session = try ORTSession(env: environment, modelPath: model.path, sessionOptions: options)
    }

    /// Numbers of the first output, row by row: probabilities or logits [n, classes], or labels [n].
    func classify(_ bytes: [UInt8], shape: [Int], takesBytes: Bool = false) throws -> [Double] {
        let sizes = shape.map { NSNumber(value: $0) }
        let data = takesBytes ? Data(bytes) : bytes.map { Float($0) / 255 }.withUnsafeBytes { Data($0) }
        let x = try ORTValue(tensorData: NSMutableData(data: data), elementType: takesBytes ? .uInt8 : .float, shape: sizes)
        guard let input = try session.inputNames().first, let output = try session.outputNames().first else {
            throw ClassifierError(message: "the model has no input or no output")
        }
        guard let answer = try session.run(withInputs: [input: x], outputNames: [output], runOptions: nil)[output] else {
            throw ClassifierError(message: "the model returned nothing")
        }
        let held = try answer.tensorData() as Data
        if try answer.tensorTypeAndShapeInfo().elementType == .int64 {
            return held.withUnsafeBytes { $0.bindMemory(to: Int64.self).map(Double.init) }
        }
        return held.withUnsafeBytes { $0.bindMemory(to: Float.self).map(Double.init) }
    }
}

private struct Golden: Decodable {
    let shape: [Int]
    let x: Data  // JSONDecoder reads base64
    let outputs: Outputs

    enum Outputs: Decodable {
        case scores([[Double]]), labels([Double])
        init(from decoder: Decoder) throws {
            let one = try decoder.singleValueContainer()
            if let scores = try? one.decode([[Double]].self) { self = .scores(scores) } else { self = .labels(try one.decode([Double].self)) }
        }
        var numbers: [Double] {
            switch self {
            case .scores(let rows): return rows.flatMap { $0 }
            case .labels(let labels): return labels
            }
        }
    }
}

private struct Record: Decodable { let tolerance: Double }

/// The largest difference from the golden outputs; throws where it is not allowed.
func checkGolden(bundle: Bundle = .main, takesBytes: Bool = false) throws -> Double {
    func file(_ name: String, _ type: String) throws -> URL {
        guard let url = bundle.url(forResource: name, withExtension: type) else { throw ClassifierError(message: "no \(name).\(type)") }
        return url
    }
    let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: file("golden", "json")))
    let record = try JSONDecoder().decode(Record.self, from: Data(contentsOf: file("device", "json")))
    let classifier = try Classifier(model: file("model", "onnx"))
    let outputs = try classifier.classify([UInt8](golden.x), shape: golden.shape, takesBytes: takesBytes)
    let expected = golden.outputs.numbers
    guard outputs.count == expected.count else { throw ClassifierError(message: "the model returns another shape") }
    let difference = zip(outputs, expected).map { abs($0 - $1) }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
    guard difference <= record.tolerance else {
        throw ClassifierError(message: "the model computes something else here: an output differs by \(difference)")
    }
    return difference
}
