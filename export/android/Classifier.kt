// A model.onnx of edgepriv in an Android app. Not built by its authors; see README.md.

package edgepriv.device

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import android.system.Os
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/** Classifies bytes [n, ...], such as pixels [n, channels, height, width]; normalisation is inside the model. */
class Classifier(model: ByteArray, threads: Int = 1) : AutoCloseable {
    private val environment: OrtEnvironment
    private val session: OrtSession

    init {
        // Builds of onnxruntime send usage events to its makers; the switch is read when the environment is made.
        Os.setenv("ORT_DISABLE_TELEMETRY", "1", true)
        environment = OrtEnvironment.getEnvironment()
        environment.setTelemetry(false)
        val options = OrtSession.SessionOptions()
        options.setIntraOpNumThreads(threads)
        options.setInterOpNumThreads(1)
        // Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32.
        options.addConfigEntry("session.qdq_matmulnbits_accuracy_level", "1")
        session = environment.createSession(model, options)
    }

    /** Rows of the first output: probabilities or logits [n, classes], or labels [n, 1]. */
    fun classify(bytes: ByteArray, shape: LongArray): Array<DoubleArray> {
        val (name, input) = session.inputInfo.entries.first()
        val takes = (input.info as TensorInfo).type
        val tensor =
            if (takes == OnnxJavaType.UINT8) {
                val held = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes)
                held.rewind()
                OnnxTensor.createTensor(environment, held, shape, OnnxJavaType.UINT8)
            } else {
                val scaled = FloatArray(bytes.size) { (bytes[it].toInt() and 255) / 255f }
                OnnxTensor.createTensor(environment, FloatBuffer.wrap(scaled), shape)
            }
        tensor.use {
            session.run(mapOf(name to it)).use { answers ->
                return when (val value = answers[0].value) {
                    is LongArray -> Array(value.size) { row -> doubleArrayOf(value[row].toDouble()) }
                    is Array<*> -> Array(value.size) { row -> DoubleArray((value[row] as FloatArray).size) { k -> (value[row] as FloatArray)[k].toDouble() } }
                    else -> error("the model returns ${value?.javaClass} first, not one number per class")
                }
            }
        }
    }

    override fun close() = session.close()
}
