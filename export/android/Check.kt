// Does the model compute on this phone what it computed at export? Not built by its authors; see README.md.

package edgepriv.device

import android.content.Context
import android.util.Base64
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject

/** The largest difference from the golden outputs; an IllegalStateException where it is not allowed. */
fun checkGolden(context: Context): Double {
    val read = { name: String -> context.assets.open(name).use { it.readBytes() } }
    val golden = JSONObject(String(read("golden.json")))
    val tolerance = JSONObject(String(read("device.json"))).getDouble("tolerance")
    val sizes = golden.getJSONArray("shape")
    val shape = LongArray(sizes.length()) { sizes.getLong(it) }
    val answers = Classifier(read("model.onnx")).use { it.classify(Base64.decode(golden.getString("x"), Base64.DEFAULT), shape) }
    val expected = golden.getJSONArray("outputs")
    check(answers.size == expected.length()) { "the model returns ${answers.size} rows, ${expected.length()} are expected" }
    var difference = 0.0
    for ((row, scores) in answers.withIndex()) {
        val wanted = expected.get(row)
        for ((place, score) in scores.withIndex()) {
            val gap = abs(score - if (wanted is JSONArray) wanted.getDouble(place) else (wanted as Number).toDouble())
            check(gap <= tolerance) { "the model computes something else here: an output differs by $gap, $tolerance is allowed" }
            difference = maxOf(difference, gap)
        }
    }
    return difference
}
